"""Kills, stops and an absent Redis: nothing is lost and nothing is done twice."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from urllib3.exceptions import HTTPError

from tests.support.processes import Running
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually

pytestmark = pytest.mark.alone

RECOVERY = 15.0
"""Seconds within which what a dead worker held is taken up: the contract's."""

BEFORE_COMMIT = {"kind": "delay", "seconds": 5}
AFTER_COMMIT = {"kind": "timeout_after_commit"}


def in_flight(stack: Stack, fault: str, method: str) -> bool:
    return any(
        entry["ended"] is None and (fault, method) == (entry["fault"], entry["method"])
        for entry in stack.vitally.writes()
    )


def test_a_kill_in_mid_write_is_healed_by_the_restarted_worker(stack: Stack) -> None:
    """Four writes at once: an update and a creation, before and after the commit."""
    stack.web()
    worker = stack.worker(WORKER_PROCESSES=4)
    stripe = stack.ready().stripe()
    eventually(lambda: len(stack.figures().workers) == 4, what="four workers")
    known = [Shop(), Shop()]
    for shop in known:
        stripe.post(shop.signs_up())
    eventually(lambda: len(stack.creations()) == len(known))
    stack.settled()
    faults = [BEFORE_COMMIT, AFTER_COMMIT]
    stack.vitally.break_with(
        [
            {**fault, "match": {"method": "PUT", "path": f"*/{shop.id}"}}
            for fault, shop in zip(faults, known, strict=True)
        ]
        + [{**fault, "match": {"method": "POST"}} for fault in faults]
    )
    new = [Shop(), Shop()]
    for shop in new:
        stripe.post(shop.signs_up())
    for shop in known:
        stripe.post(shop.begins())
    for fault in faults:
        for method in ("PUT", "POST"):
            what = f"a {method} in flight: {fault}"
            eventually(
                lambda f=fault, m=method: in_flight(stack, f["kind"], m), what=what
            )
    worker.kill()
    for shop in new:
        stripe.post(shop.begins(quantity=2))
    killed = time.monotonic()
    stack.worker()

    for shop, mrr in ((known[0], 49), (known[1], 49), (new[0], 98), (new[1], 98)):
        left = killed + RECOVERY - time.monotonic()
        assert eventually(stack.has(shop.id, mrr=mrr), left)
    assert sorted(shop.id for shop in known + new) == sorted(stack.creations())
    assert [] == stack.overlaps()
    seen = stack.settled(killed + RECOVERY - time.monotonic())
    assert (8, 8, 0, 0) == (seen.accepted, seen.settled, seen.held, seen.parked)


def test_another_worker_takes_over_what_a_killed_one_held(stack: Stack) -> None:
    stack.web()
    first = stack.worker(WORKER_PROCESSES=1)
    stripe = stack.ready().stripe()
    shop = Shop()
    stripe.post(shop.signs_up())
    eventually(lambda: stack.vitally.account(shop.id))
    stack.vitally.break_with([{**AFTER_COMMIT, "match": {"method": "PUT"}}])
    stripe.post(shop.begins())
    eventually(lambda: in_flight(stack, "timeout_after_commit", "PUT"))
    stack.worker(WORKER_PROCESSES=1)
    eventually(lambda: len(stack.figures().workers) == 2)
    first.kill()
    killed = time.monotonic()
    stripe.post(shop.changes(quantity=5))

    assert eventually(stack.has(shop.id, mrr=245), RECOVERY)
    stack.settled(killed + RECOVERY - time.monotonic())
    assert [shop.id] == stack.creations()
    assert [] == stack.overlaps()


def lives(stripe: Stripe, shops: list[Shop]) -> set[str]:
    """Play each shop's life at once; which of the events were answered 202."""

    def play(shop: Shop) -> list[str]:
        events = [shop.signs_up(), shop.begins(), shop.changes(quantity=2)]
        return [event["id"] for event in events if taken(stripe, event)]

    with ThreadPoolExecutor(8) as pool:
        return {id_ for found in pool.map(play, shops) for id_ in found}


def taken(stripe: Stripe, event: dict[str, Any]) -> bool:
    try:
        return 202 == stripe.post(event).status
    except HTTPError:
        return False


def test_an_orderly_stop_under_load_loses_nothing(stack: Stack) -> None:
    web, worker = stack.web(), stack.worker()
    stripe = stack.ready().stripe()
    shops = [Shop() for _ in range(300)]
    with ThreadPoolExecutor(1) as sender:
        sending = sender.submit(lives, stripe, shops)
        eventually(lambda: len(stack.creations()) >= 5)
        for running in (web.running, worker):
            running.signal(signal.SIGTERM)
        ends = [running.wait() for running in (web.running, worker)]
        answered = sending.result()

    assert [0, 0] == ends
    assert 20 < len(answered) < 900, "the stop fell into the load"
    stored = stack.figures()
    assert stored.accepted >= len(answered)

    stack.worker()
    seen = stack.settled(40)
    assert (stored.accepted, 0, 0) == (seen.settled, seen.held, seen.parked)
    for shop in shops:
        sent = [f"evt_{shop.id}_{n}" for n in (1, 2, 3)]
        if sent[2] in answered:
            assert stack.has(shop.id, mrr=98)()
        elif answered.intersection(sent):
            assert stack.vitally.account(shop.id)
    assert len(set(stack.creations())) == len(stack.creations())
    assert [] == stack.overlaps()


def says(worker: Running, words: str) -> bool:
    return words in worker.output


def test_a_redis_that_is_down_at_the_start_is_waited_for(stack: Stack) -> None:
    stack.redis_server.kill()
    web, worker = stack.web(), stack.worker()
    stripe, shop = stack.stripe(), Shop()
    told = shop.signs_up()
    begun = time.monotonic()
    refused = stripe.post(told)
    took = time.monotonic() - begun

    assert (503, True) == (refused.status, "Retry-After" in refused.headers)
    assert took < 2
    assert 200 == web.get("/healthz")[0]
    status, reasons = web.get("/readyz")
    assert (503, True) == (status, "Redis" in reasons)
    assert eventually(lambda: says(worker, "waiting for redis"))
    assert worker.is_alive

    stack.redis_server.restart()
    stack.ready()

    assert 202 == stripe.post(told).status
    assert eventually(lambda: stack.vitally.account(shop.id))
