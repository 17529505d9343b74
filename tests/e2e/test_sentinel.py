"""Redis by the word of its sentinels: a failover is a short 503, and then goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from bridge.store.connect import follow
from bridge.store.figures import figures
from tests.support.processes import ROOT, environment
from tests.support.sentinel import MASTER, PASSWORD, Watched
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually

FAILOVER = 20.0
"""Seconds within which deliveries are taken again; seen: two to four."""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with Watched(tmp_path / "watched") as servers:
        yield servers


@pytest.fixture
def stack(watched: Watched, tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path, redis_url=watched.url) as made:
        made.web()
        made.worker()
        yield made.ready()


def stubborn(stripe: Stripe, events: list[dict[str, Any]]) -> int:
    """Post until each is taken, as a sender does; how many answers were a 503."""
    refusals, end = 0, time.monotonic() + FAILOVER
    while events:
        begun = time.monotonic()
        answer = stripe.post(events[0])
        assert time.monotonic() - begun < 2
        assert time.monotonic() < end
        if answer.status == 202:
            events = events[1:]
            continue
        assert (503, True) == (answer.status, "Retry-After" in answer.headers)
        refusals += 1
        time.sleep(0.1)
    return refusals


def right(stack: Stack, shops: list[Shop], mrr: int) -> None:
    """Every shop has its account, made once, and no two writes overlapped."""
    stack.settled(FAILOVER)
    for shop in shops:
        assert eventually(stack.has(shop.id, mrr=mrr))
    assert sorted(shop.id for shop in shops) == sorted(stack.creations())
    assert [] == stack.overlaps()


def status(stack: Stack) -> Any:
    """What `vitally-bridge status` says."""
    said = subprocess.run(
        [sys.executable, "-m", "bridge", "status", "--json"],
        env=environment(stack.environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(said.stdout)


def test_a_master_that_dies_is_a_short_503_and_loses_nothing_that_was_copied(
    stack: Stack, watched: Watched
) -> None:
    stripe = stack.stripe()
    shops = [Shop() for _ in range(8)]
    assert 0 == stubborn(stripe, [shop.signs_up() for shop in shops])
    stack.settled()
    slow = {"kind": "delay", "match": {"method": "PUT"}, "seconds": 2, "times": 2}
    stack.vitally.break_with([slow])
    stubborn(stripe, [shop.begins() for shop in shops[:4]])
    eventually(lambda: stack.vitally.writes()[-1]["ended"] is None)
    watched.wait()

    watched.first.kill()  # in the middle of a write to Vitally
    refusals = stubborn(stripe, [shop.begins() for shop in shops[4:]])

    assert refusals
    right(stack, shops, mrr=49)
    assert 16 == stack.figures().accepted == status(stack)["accepted"]
    assert 200 == eventually(lambda: stack.webs[0].get("/readyz")[0])
    assert PASSWORD not in stack.webs[0].running.output + stack.workers[0].output


def master_of(sentinel: Redis) -> int:
    """The port of the master, by the word of a sentinel."""
    return int(sentinel.sentinel_get_master_addr_by_name(MASTER)[1])


def test_a_master_that_is_one_no_longer_is_left_before_it_knows(
    stack: Stack, watched: Watched
) -> None:
    """It goes on for ten seconds, and what it takes is lost when it hears of it."""
    stripe = stack.stripe()
    shops = [Shop() for _ in range(4)]
    stubborn(stripe, [shop.signs_up() for shop in shops])
    stack.settled()
    watched.wait()
    follow(stack.redis)
    with Redis(port=watched.ports[0]) as sentinel:
        sentinel.sentinel_failover(MASTER)
        eventually(lambda: master_of(sentinel) == watched.second.port, FAILOVER)
    time.sleep(2.0)  # a look of the web process, a beat of the worker
    follow(stack.redis)

    stubborn(stripe, [shop.begins() for shop in shops])

    right(stack, shops, mrr=49)
    old = watched.client(watched.first)
    assert "master" == old.info("replication")["role"], "too late: it knows by now"
    assert 4 == figures(old).accepted
    assert 8 == figures(watched.client(watched.second)).accepted
    assert 200 == eventually(lambda: stack.webs[0].get("/readyz")[0])
