"""More than anyone sends on a quiet day: one hot account, and a burst of many."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from bridge.store import keys
from bridge.throttle import Throttle
from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually

HOT = 1500
"""Events of one account; at Stripe's pace these are hours, here some seconds."""

CUSTOMERS = 150


def test_a_hot_account_is_written_at_growing_intervals(stack: Stack) -> None:
    stack.web()
    for _ in range(2):
        stack.worker()
    stripe = stack.ready().stripe()
    shop = Shop()
    told = [shop.signs_up(), shop.begins()]
    told += [shop.changes(quantity=n % 50 + 1, seconds=1) for n in range(HOT)]
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(stripe.post, told))
    took = time.monotonic() - began
    seen = stack.settled()

    assert {202} == {answer.status for answer in answers}
    assert stack.has(shop.id, mrr=49 * ((HOT - 1) % 50 + 1))()
    # At once, after 1 s, after 2 s more, then every 5 s; the creation is two requests.
    assert len(stack.vitally.writes()) <= 5 + took / 5
    assert HOT + 2 == seen.accepted == seen.settled


def test_a_burst_of_many_customers_is_taken_in_and_written_once_each(
    stack: Stack,
) -> None:
    stack.web()
    stack.worker(WORKER_PROCESSES=2)
    stripe = stack.ready().stripe()
    shops = [Shop() for _ in range(CUSTOMERS)]
    told = [
        event
        for shop in shops
        for event in (shop.signs_up(), shop.begins(), shop.changes(quantity=3))
    ]
    posted = told + told[: CUSTOMERS * 2]
    Random(4).shuffle(posted)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(stripe.post, posted))
    seen = stack.settled()

    assert {202} == {answer.status for answer in answers}
    for shop in shops:
        assert stack.has(shop.id, mrr=147)()
    assert [] == stack.overlaps()
    assert (len(told), len(posted)) == (seen.accepted, seen.received)
    # A creation is two requests; what came in while it was made is one more.
    assert len(stack.vitally.writes()) <= 3 * CUSTOMERS


@pytest.mark.alone
def test_an_ending_does_not_wait_for_the_budget_behind_a_backlog(stack: Stack) -> None:
    """Nor where a job of its account is in that backlog already."""
    stack.vitally.turn(rate_limit=1000)
    stack.web()
    first = stack.worker()
    stripe = stack.ready().stripe()
    leaving = [Shop() for _ in range(3)]
    for shop in leaving:
        stripe.deliver(shop.signs_up())
        stripe.deliver(shop.begins())
    stack.settled()
    first.terminate()
    first.wait()
    backlog = [Shop().begins() for _ in range(CUSTOMERS // 2)]
    for event in (*backlog, leaving[0].changes(quantity=2)):
        stripe.deliver(event)
    throttle = Throttle(stack.redis, 0.8)
    # Of eighty slots a minute ordinary writes may use 76.
    while stack.redis.zcard(keys.SLOTS) < 77:
        throttle.reserve(0, urgent=True)
    stack.worker()
    stack.ready()
    for shop in leaving:
        began = time.monotonic()
        stripe.deliver(shop.ends())
        eventually(stack.has(shop.id, mrr=None))
        assert time.monotonic() - began < 5

    assert stack.figures().dirty >= len(backlog)
