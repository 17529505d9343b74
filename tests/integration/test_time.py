"""A number that changes with time alone is written at that time, without an event."""

from __future__ import annotations

import time
from dataclasses import replace

from bridge.config import Config
from bridge.domain.money import Policy
from bridge.store import keys
from tests.support.desk import Bench, customer, subscription
from tests.support.waiting import eventually


def test_a_discount_that_ends_is_seen_at_its_end(desk: Bench) -> None:
    desk.set(config=replace(Config(), policy=Policy(discounts="active")))
    ends = time.time_ns() // 1_000_000 + 1500
    half = {"coupon": "half", "percent": "50", "duration": "repeating", "ends": ends}
    fact = subscription(unit=10_000)
    fact = fact._replace(value={**fact.value, "discounts": [half]})
    desk.tell(customer(), fact)
    desk.work()

    assert 50 == desk.traits()["mrr"]
    assert 1 == desk.redis.zcard(keys.LATER)
    assert set() == desk.dirty()
    eventually(lambda: desk.sweeper.tick() or desk.work(), 10)
    assert 100 == desk.traits()["mrr"]
    assert 0 == desk.redis.zcard(keys.LATER)
