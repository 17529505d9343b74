"""Several web and worker processes share one Redis and one Vitally, and agree."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, pairwise
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
    slow = {"kind": "delay", "seconds": 0.05, "match": {"method": "P*"}, "times": None}
    stack.vitally.break_with([slow])
    shops = [Shop(rendering) for rendering in (ON_ITEMS, ON_SUBSCRIPTION)]
    shops += [Shop() for _ in range(CUSTOMERS - len(shops))]
    events = [event for shop in shops for event in life(shop)]
    posted = events * 2
    Random(1).shuffle(posted)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(stripe.post, posted))
    figures = stack.settled()

    assert {202} == {answer.status for answer in answers}
    assert sorted(shop.id for shop in shops) == sorted(stack.creations())
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
    assert (len(posted), len(events)) == (figures.received, figures.accepted)
    assert (len(events), len(events)) == (figures.duplicate, figures.settled)

    # The intervals themselves, and not only the simulator's own flag.
    assert [] == stack.overlaps()
    writes = sorted(stack.vitally.writes(), key=lambda w: (w["account"], w["started"]))
    assert {shop.id for shop in shops} == {write["account"] for write in writes}
    for _, of_account in groupby(writes, key=lambda w: w["account"]):
        pairs = pairwise(of_account)
        assert all(one["ended"] <= next_["started"] for one, next_ in pairs)
