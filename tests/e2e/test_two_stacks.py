"""Several web and worker processes share one Redis and one Vitally, and agree."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from random import Random
from typing import Any

from tests.support.stack import Stack
from tests.support.stripe import ON_ITEMS, ON_SUBSCRIPTION, YEARLY, Shop, iso

CUSTOMERS = 24


def life(shop: Shop) -> list[dict[str, Any]]:
    return [
        shop.signs_up(),
        shop.begins(seconds=0, status="incomplete"),
        shop.changes(seconds=0, status="active"),
        shop.begins("2", YEARLY),
        shop.changes(quantity=2),
        shop.changes(quantity=3, seconds=0),
        shop.ends("2"),
        shop.changes(cancel_at_period_end=True, ends=1_800_000_000),
    ]


def test_two_stacks_create_once_and_never_write_at_the_same_time(stack: Stack) -> None:
    for _ in range(2):
        stack.web()
        stack.worker(WORKER_PROCESSES=2)
    stripe = stack.ready().stripe()
    shops = [Shop(rendering) for rendering in (ON_ITEMS, ON_SUBSCRIPTION)]
    shops += [Shop() for _ in range(CUSTOMERS - len(shops))]
    told = [event for shop in shops for event in life(shop)]
    posted = told * 2
    Random(1).shuffle(posted)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(stripe.post, posted))
    seen = stack.settled(30)

    assert {202} == {answer.status for answer in answers}
    assert sorted(shop.id for shop in shops) == sorted(stack.creations())
    assert [] == stack.overlaps()
    for shop in shops:
        assert stack.has(
            shop.id,
            mrr=147,
            nextRenewalDate=None,
            cancelAt=iso(1_800_000_000),
            churnedAt=None,
            subscriptionStatus="active",
            planName="Pro",
        )()
    assert (len(posted), len(told)) == (seen.received, seen.accepted)
    assert (len(told), len(told)) == (seen.duplicate, seen.settled)


def test_the_log_of_the_simulator_says_the_same_of_each_account(stack: Stack) -> None:
    """The intervals themselves, and not only the simulator's own flag."""
    for _ in range(2):
        stack.web()
        stack.worker(WORKER_PROCESSES=2)
    stripe = stack.ready().stripe()
    stack.vitally.break_with(
        [{"kind": "delay", "seconds": 0.05, "match": {"method": "P*"}, "times": None}]
    )
    shops = [Shop() for _ in range(6)]
    posted = [event for shop in shops for event in life(shop)]
    Random(2).shuffle(posted)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(stripe.post, posted))
    stack.settled(30)
    writes = sorted(stack.vitally.writes(), key=lambda w: (w["account"], w["started"]))

    assert {shop.id for shop in shops} == {write["account"] for write in writes}
    for _, of_account in groupby(writes, key=lambda w: w["account"]):
        spans = [(write["started"], write["ended"]) for write in of_account]
        ends = [end for _, end in spans[:-1]]
        starts = [start for start, _ in spans[1:]]
        assert all(end <= start for end, start in zip(ends, starts, strict=True))
