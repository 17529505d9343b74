"""Redis read-only, full, or gone in the middle of an event: a 503, and nothing halved.

Others are where they were first needed: down and back (test_kill.py), stalled
(test_stalled.py) and allowed to evict (test_serve.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.store import keys, operator
from tests.support.proxy import LOSE_REPLY, LOSE_REQUEST, Act, Proxy, resp
from tests.support.stack import Stack, Web
from tests.support.stripe import Answer, Shop, Stripe
from tests.support.waiting import eventually

ROOM = 100_000
"""Bytes until the web process finds Redis full; about 150 events."""


@pytest.fixture
def stack(redis_program: Path, tmp_path: Path) -> Iterator[Stack]:
    """A stack of a test's own, on each kind of server."""
    with Stack(tmp_path, program=redis_program) as own:
        yield own


def refused(answer: Answer) -> bool:
    return answer.status == 503 and "Retry-After" in answer.headers


def post(stripe: Stripe, event: dict[str, Any]) -> Answer:
    """Post once; whatever Redis does, the answer is there in two seconds."""
    begun = time.monotonic()
    answer = stripe.post(event)
    assert time.monotonic() - begun < 2
    return answer


def taken(stripe: Stripe, event: dict[str, Any]) -> Answer:
    """Send it again until it is taken, as a sender does."""
    return eventually(lambda: (one := post(stripe, event)).status == 202 and one)


def parties(stack: Stack) -> set[str]:
    """Every customer of which there is anything in Redis."""
    made = (keys.party, keys.facts)
    found = (
        raw.decode().removeprefix(key("stripe:"))
        for key in made
        for raw in stack.redis.scan_iter(match=key("stripe:*"), count=1000)
    )
    return set(found)


def adds_up(stack: Stack, accepted: int) -> None:
    seen = stack.figures()
    assert accepted == seen.accepted
    assert seen.accepted == seen.settled + seen.pending + seen.held + seen.parked
    assert seen.received == (
        seen.accepted + seen.duplicate + seen.ignored + seen.quarantined
    )


def test_a_redis_that_becomes_a_replica_refuses_until_it_is_none(stack: Stack) -> None:
    web = stack.web()
    worker = stack.worker()
    stripe, shop = stack.ready().stripe(), Shop()
    assert 202 == post(stripe, shop.signs_up()).status
    stack.settled()

    stack.redis.replicaof("127.0.0.1", "1")
    event = shop.begins()
    answers = [post(stripe, event) for _ in range(3)]
    _, reasons = eventually(lambda: (said := web.get("/readyz"))[0] == 503 and said)
    stack.redis.replicaof("NO", "ONE")

    assert all(refused(answer) for answer in answers)
    assert "read-only" in reasons
    assert taken(stripe, event).receipt in {"queued", "coalesced"}
    stack.settled()
    assert eventually(stack.has(shop.id, mrr=49))
    assert worker.is_alive
    adds_up(stack, 2)


def filled(
    stack: Stack, web: Web, stripe: Stripe, shop: Shop
) -> tuple[int, dict[str, Any]]:
    """Post until Redis is full: how many were taken, and the event that was not."""
    used = stack.redis.info("memory")["used_memory"]
    stack.redis_server.config(maxmemory=int((used + ROOM) / 0.9))
    count, event = 0, shop.changes(quantity=1)
    for _ in range(3000):
        answer = post(stripe, event)
        if answer.status == 202:
            count += 1
            event = shop.changes(quantity=1 + count)
        elif "Redis is full" in web.get("/readyz")[1]:
            assert refused(answer)
            return count, event
        time.sleep(0.02)
    raise AssertionError("it was never full")


def test_before_redis_is_full_events_are_refused_and_workers_make_room(
    stack: Stack,
) -> None:
    web, worker = stack.web(), stack.worker()
    stripe, shop = stack.ready().stripe(), Shop()
    for event in (shop.signs_up(), shop.begins()):
        post(stripe, event)
    stack.settled()
    operator.pause(stack.redis, "nothing is folded while it fills up")
    worker.wait_for("writes paused by hand")

    count, event = filled(stack, web, stripe, shop)
    memory = stack.redis.info("memory")

    assert count > 10
    assert 0.85 < memory["used_memory"] / memory["maxmemory"] < 1
    adds_up(stack, 2 + count)
    # The customer's two things as they were, and one fact of each event since.
    assert 2 + count <= stack.redis.hlen(keys.facts(f"stripe:{shop.id}")) <= 4 + count

    operator.resume(stack.redis)

    assert "duplicate" != taken(stripe, event).receipt
    stack.settled()
    assert eventually(stack.has(shop.id, mrr=49 * (1 + count)))
    adds_up(stack, 3 + count)
    assert "OutOfMemory" not in web.running.output + worker.output


def test_a_redis_that_is_full_to_the_brim_takes_an_event_whole_or_not_at_all(
    stack: Stack,
) -> None:
    """Somebody else fills it between two looks."""
    web = stack.web()
    stack.worker()
    stripe, shops = stack.ready().stripe(), [Shop() for _ in range(6)]
    post(stripe, shops[0].signs_up())
    stack.settled()

    full = []

    def strikes() -> bool:
        # Before the watch has looked: from then on nothing is sent to Redis.
        stack.redis_server.config(maxmemory=0)
        stack.ready()
        stack.redis_server.config(maxmemory=1)
        full.append(post(stripe, shops[1].signs_up()))
        return "OutOfMemory" in web.running.output

    eventually(strikes)
    full += [post(stripe, shop.signs_up()) for shop in shops[2:4]]
    stack.redis_server.config(maxmemory=0)
    eventually(lambda: web.get("/readyz")[0] == 200)
    after = [post(stripe, shop.signs_up()) for shop in shops[4:]]

    assert all(refused(answer) for answer in full)
    assert ["queued"] * 2 == [answer.receipt for answer in after]
    assert {shop.id for shop in (shops[0], *shops[4:])} == parties(stack)
    stack.settled()
    adds_up(stack, 3)


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    """What stands between the web process and Redis; the worker goes past it."""
    with Proxy(stack.redis_server.port, resp) as between:
        stack.worker()
        stack.environ["REDIS_URL"] = f"redis://127.0.0.1:{between.port}/0"
        stack.web()
        stack.ready()
        yield between


@pytest.mark.parametrize(
    ("act", "is_done", "receipt"),
    [(LOSE_REPLY, True, "duplicate"), (LOSE_REQUEST, False, "queued")],
    ids=["reply", "request"],
)
def test_an_event_that_was_lost_on_the_way_is_there_whole_or_not_and_written_once(
    stack: Stack, proxy: Proxy, act: Act, is_done: bool, receipt: str
) -> None:
    stripe, shop = stack.stripe(), Shop()
    assert 202 == post(stripe, Shop().signs_up()).status
    event = shop.signs_up()
    lost = proxy.on(rb"EVALSHA.*" + event["id"].encode(), act)

    assert refused(post(stripe, event))
    assert lost.caught.is_set()
    assert is_done == (shop.id in parties(stack))
    assert receipt == taken(stripe, event).receipt
    stack.settled()
    assert 1 == stack.creations().count(shop.id)
    adds_up(stack, 2)
