"""Kills, stops and an absent Redis: nothing is lost and nothing is done twice."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from urllib3.exceptions import HTTPError

from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually

pytestmark = pytest.mark.alone

RECOVERY = 15.0
"""Seconds within which what a dead worker held is taken up: the contract's."""

BEFORE_COMMIT = {"kind": "delay", "seconds": 5}
AFTER_COMMIT = {"kind": "timeout_after_commit"}


def waits_for(stack: Stack, fault: str, method: str) -> None:
    """A write of this *method*, with this *fault*, is in flight."""

    def in_flight() -> bool:
        sought = (None, fault, method)
        writes = stack.vitally.writes()
        return any(sought == (w["ended"], w["fault"], w["method"]) for w in writes)

    eventually(in_flight, what=f"a {method} in flight: {fault}")


def test_a_kill_in_mid_write_is_healed_by_the_restarted_worker(stack: Stack) -> None:
    """Four writes at once: an update and a creation, before and after the commit."""
    stack.web()
    worker = stack.worker(WORKER_PROCESSES=4)
    stripe = stack.ready().stripe()
    eventually(lambda: len(stack.figures().workers) == 4, what="four workers")
    known, new = [Shop(), Shop()], [Shop(), Shop()]
    for shop in known:
        stripe.post(shop.signs_up())
    eventually(lambda: len(stack.creations()) == len(known))
    stack.settled()
    faults = [BEFORE_COMMIT, AFTER_COMMIT]
    matches = [{"method": "PUT", "path": f"*/{shop.id}"} for shop in known]
    matches += [{"method": "POST"}] * 2
    pairs = zip(faults * 2, matches, strict=True)
    stack.vitally.break_with([{**fault, "match": match} for fault, match in pairs])
    for event in [s.signs_up() for s in new] + [s.begins() for s in known]:
        stripe.post(event)
    for fault in faults:
        for method in ("PUT", "POST"):
            waits_for(stack, str(fault["kind"]), method)
    worker.kill()
    for shop in new:
        stripe.post(shop.begins(quantity=2))
    end = time.monotonic() + RECOVERY
    stack.worker()

    for shop, mrr in zip(known + new, (49, 49, 98, 98), strict=True):
        assert eventually(stack.has(shop.id, mrr=mrr), end - time.monotonic())
    assert sorted(shop.id for shop in known + new) == sorted(stack.creations())
    assert [] == stack.overlaps()
    seen = stack.settled(end - time.monotonic())
    assert (8, 8, 0, 0) == (seen.accepted, seen.settled, seen.held, seen.parked)


def test_another_worker_takes_over_what_a_killed_one_held(stack: Stack) -> None:
    stack.web()
    first = stack.worker()
    stripe, shop = stack.ready().stripe(), Shop()
    stripe.post(shop.signs_up())
    eventually(lambda: stack.vitally.account(shop.id))
    stack.vitally.break_with([{**AFTER_COMMIT, "match": {"method": "PUT"}}])
    stripe.post(shop.begins())
    waits_for(stack, "timeout_after_commit", "PUT")
    stack.worker()
    eventually(lambda: len(stack.figures().workers) == 2)
    first.kill()
    killed = time.monotonic()
    stripe.post(shop.changes(quantity=5))

    assert eventually(stack.has(shop.id, mrr=245), RECOVERY)
    stack.settled(killed + RECOVERY - time.monotonic())
    assert ([shop.id], []) == (stack.creations(), stack.overlaps())


def play(stripe: Stripe, shop: Shop) -> list[str]:
    """The life of a shop; which of its events were answered 202."""
    taken = []
    for event in (shop.signs_up(), shop.begins(), shop.changes(quantity=2)):
        with suppress(HTTPError):
            if stripe.post(event).status == 202:
                taken.append(event["id"])
    return taken


def test_an_orderly_stop_under_load_loses_nothing(stack: Stack) -> None:
    web, worker = stack.web(), stack.worker()
    stripe = stack.ready().stripe()
    shops = [Shop() for _ in range(300)]
    with ThreadPoolExecutor(8) as pool:
        playing = [pool.submit(play, stripe, shop) for shop in shops]
        eventually(lambda: len(stack.creations()) > 20)
        for running in (web.running, worker):
            running.signal(signal.SIGTERM)
        ends = [running.wait() for running in (web.running, worker)]
        answered = {id_ for life in playing for id_ in life.result()}

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


def test_a_redis_that_is_down_at_the_start_is_waited_for(stack: Stack) -> None:
    stack.redis_server.kill()
    web, worker = stack.web(), stack.worker()
    stripe, shop = stack.stripe(), Shop()
    event = shop.signs_up()
    begun = time.monotonic()
    refused = stripe.post(event)

    assert time.monotonic() - begun < 2
    assert (503, True) == (refused.status, "Retry-After" in refused.headers)
    assert 200 == web.get("/healthz")[0]
    status, reasons = web.get("/readyz")
    assert (503, True) == (status, "Redis" in reasons)
    worker.wait_for("waiting for redis")
    assert worker.is_alive

    stack.redis_server.restart()
    stack.ready()
    assert 202 == stripe.post(event).status
    assert eventually(lambda: stack.vitally.account(shop.id))
