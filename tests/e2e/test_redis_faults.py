"""Redis read-only, full, or gone in the middle of an event: a 503, and nothing halved.

Others are where they were first needed: down and back (test_kill.py), stalled and
allowed to evict (test_serve.py), a failover (test_sentinel.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.store import byhand, keys
from tests.support.proxy import LOSE_REPLY, LOSE_REQUEST, Proxy, resp
from tests.support.stack import Stack
from tests.support.stripe import Answer, Shop, Stripe
from tests.support.waiting import eventually

MEBIBYTE = 1 << 20


def refused(answer: Answer) -> bool:
    return answer.status == 503 and "Retry-After" in answer.headers


def post(stripe: Stripe, told: dict[str, Any]) -> Answer:
    """Post once; whatever Redis does, the answer is there in two seconds."""
    begun = time.monotonic()
    answer = stripe.post(told)
    assert time.monotonic() - begun < 2
    return answer


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
    told = shop.begins()
    answers = [post(stripe, told) for _ in range(3)]
    status, reasons = eventually(
        lambda: (said := web.get("/readyz"))[0] == 503 and said
    )
    stack.redis.replicaof("NO", "ONE")
    taken = eventually(lambda: (one := post(stripe, told)).status == 202 and one, 5)

    assert all(refused(answer) for answer in answers)
    assert "read-only" in reasons
    assert "queued" == taken.receipt
    stack.settled()
    assert eventually(stack.has(shop.id, mrr=49))
    assert worker.is_alive
    adds_up(stack, 2)


@pytest.fixture
def narrow(stack: Stack) -> Stack:
    """A stack with a mebibyte of room left in Redis."""
    web = stack.web()
    stack.worker()
    stack.ready()
    post(stack.stripe(), Shop().signs_up())
    stack.settled()
    used = stack.redis.info("memory")["used_memory"]
    stack.redis_server.config(maxmemory=used + MEBIBYTE)
    assert 200 == web.get("/readyz")[0]
    return stack


def fill(stack: Stack, share: float) -> None:
    """Leave a little room below this share of the memory."""
    limit = stack.redis.config_get("maxmemory")["maxmemory"]
    room = int(limit) * share - stack.redis.info("memory")["used_memory"]
    stack.redis.set("ballast", b"x" * int(room - 40_000))


def test_before_redis_is_full_events_are_refused_and_workers_make_room(
    narrow: Stack,
) -> None:
    stripe = narrow.stripe()
    byhand.pause(narrow.redis, "nothing is written while it fills up")
    narrow.workers[0].wait_for("writes paused by hand")
    fill(narrow, 0.9)
    shops = [Shop() for _ in range(500)]
    answers: dict[str, Answer] = {}
    for shop in shops:
        answers[shop.id] = post(stripe, shop.signs_up())
        if refused(answers[shop.id]):
            break
        time.sleep(0.02)
    taken = {id_ for id_, answer in answers.items() if answer.status == 202}
    status, reasons = narrow.webs[0].get("/readyz")

    assert len(taken) == len(answers) - 1 > 0
    assert (503, True) == (status, "Redis is full" in reasons), reasons
    memory = narrow.redis.info("memory")
    assert 0.9 < memory["used_memory"] / memory["maxmemory"] < 1
    assert taken < parties(narrow)
    assert answers.keys() - taken == answers.keys() - parties(narrow)

    byhand.resume(narrow.redis)
    again = next(shop for shop in shops if shop.id not in taken)
    eventually(lambda: stripe.post(again.signs_up()).status == 202, 15)

    narrow.settled(30)
    assert taken | {again.id} <= set(narrow.creations())
    adds_up(narrow, len(taken) + 2)
    logs = narrow.webs[0].running.output + narrow.workers[0].output
    assert "OutOfMemory" not in logs


def test_a_redis_that_is_full_to_the_brim_takes_an_event_whole_or_not_at_all(
    narrow: Stack,
) -> None:
    """Somebody else fills it between two looks."""
    stripe = narrow.stripe()
    before = parties(narrow)
    shops = [Shop() for _ in range(60)]
    narrow.redis.config_set("maxmemory", 1)
    answers = {shop.id: post(stripe, shop.signs_up()) for shop in shops[:3]}
    narrow.redis.config_set("maxmemory", 0)
    eventually(lambda: narrow.webs[0].get("/readyz")[0] == 200)
    answers |= {shop.id: post(stripe, shop.signs_up()) for shop in shops[3:]}

    taken = {id_ for id_, answer in answers.items() if answer.status == 202}
    assert taken == {shop.id for shop in shops[3:]}
    assert taken | before == parties(narrow)
    assert "OutOfMemory" in narrow.webs[0].running.output
    narrow.settled(30)
    adds_up(narrow, 1 + len(taken))


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    """What stands between the web process and Redis; the worker goes past it."""
    with Proxy(stack.redis_server.port, resp) as between:
        stack.worker()
        stack.environ["REDIS_URL"] = f"redis://127.0.0.1:{between.port}/0"
        stack.web()
        stack.ready()
        yield between


def test_an_event_whose_receipt_was_lost_is_a_duplicate_and_written_once(
    stack: Stack, proxy: Proxy
) -> None:
    stripe, shop = stack.stripe(), Shop()
    assert 202 == post(stripe, Shop().signs_up()).status
    told = shop.signs_up()
    lost = proxy.on(rb"EVALSHA.*" + told["id"].encode(), LOSE_REPLY)

    answer = post(stripe, told)

    assert lost.caught.is_set()
    assert refused(answer)
    assert shop.id in parties(stack)
    again = eventually(lambda: (one := post(stripe, told)).status == 202 and one, 5)
    assert "duplicate" == again.receipt
    stack.settled()
    assert eventually(lambda: stack.vitally.account(shop.id))
    assert 1 == stack.creations().count(shop.id)
    adds_up(stack, 2)


def test_an_event_that_did_not_reach_redis_leaves_no_trace(
    stack: Stack, proxy: Proxy
) -> None:
    stripe, shop = stack.stripe(), Shop()
    assert 202 == post(stripe, Shop().signs_up()).status
    told = shop.signs_up()
    proxy.on(rb"EVALSHA.*" + told["id"].encode(), LOSE_REQUEST)

    assert refused(post(stripe, told))
    assert shop.id not in parties(stack)

    again = eventually(lambda: (one := post(stripe, told)).status == 202 and one, 5)
    assert "queued" == again.receipt
    assert eventually(lambda: stack.vitally.account(shop.id))
    adds_up(stack, 2)


def test_an_event_whose_job_could_not_be_queued_is_taken_and_written(
    stack: Stack, proxy: Proxy
) -> None:
    stripe, shop = stack.stripe(), Shop()
    assert 202 == post(stripe, Shop().signs_up()).status
    lost = proxy.on(rb"rq:job:stripe-" + shop.id.encode(), LOSE_REQUEST)

    answer = post(stripe, shop.signs_up())

    assert lost.caught.is_set()
    assert (202, "queued") == (answer.status, answer.receipt)
    assert eventually(lambda: stack.vitally.account(shop.id), 15)
    adds_up(stack, 2)
