"""A change of what many customers use reaches them, and whoever looks meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.facts import Fact, Rank, Stamp, catalogue
from bridge.store import keys
from tests.support.desk import NOON, Bench, customer, subscription

DISCOUNT = {"id": "di_1", "coupon": "half"}


def coupon(at: int = 0, **more: Any) -> Fact:
    """The terms of coupon `half`, *at* seconds after noon."""
    value = {"percent": "50", "duration": "forever", **more}
    thing, event = "coupon:half", f"evt_coupon_{at}"
    stamp = Stamp(False, NOON + at * 1000, Rank.CREATED)
    party = catalogue("stripe", thing)
    return Fact(party, thing, stamp, event, "coupon.created", value, event)


def discounted(name: str = "cus_1", account: str = "acme") -> list[Fact]:
    owner = customer(name, account=account)
    return [owner, subscription(name, f"sub_{name}", at=1, discounts=[DISCOUNT])]


def test_terms_that_come_later_make_the_number_known(desk: Bench) -> None:
    desk.tell(*discounted())
    assert ["created"] == desk.work()
    assert "mrr" not in desk.traits()
    desk.passes(60_000)

    desk.tell(coupon())
    assert ["unchanged"] == desk.work()
    desk.passes(100)

    assert ["updated"] == desk.work()
    assert 225 == desk.traits()["mrr"]


def test_terms_that_came_before_are_found(desk: Bench) -> None:
    desk.tell(coupon())
    desk.work()
    desk.tell(*discounted())

    assert ["created"] == desk.work()
    assert 225 == desk.traits()["mrr"]


def test_every_party_that_uses_it_is_looked_at_again(desk: Bench) -> None:
    for n in range(5):
        desk.tell(*discounted(f"cus_{n}", f"acme-{n}"))
    desk.work()
    desk.passes(60_000)

    desk.tell(coupon())
    desk.work()
    desk.passes(1000)
    desk.work()

    assert [225] * 5 == [desk.traits(f"acme-{n}")["mrr"] for n in range(5)]
    assert not desk.redis.zcard(keys.DIRTY)


def test_a_change_while_a_job_runs_is_not_lost(desk: Bench) -> None:
    desk.tell(*discounted())
    desk.work()
    desk.passes(60_000)
    desk.tell(subscription(at=2, discounts=[DISCOUNT], sub="sub_cus_1"))
    job = desk.pop()
    assert job is not None
    lease = desk.leases.take("acme", "stripe:cus_1")
    assert lease is not None
    before = desk.leases.read_again(lease)

    desk.tell(coupon())
    desk.jobs.run(catalogue("stripe", "coupon:half"))
    claims = desk.leases.ack(before, desk.unchanged())

    assert ["stripe:cus_1"] == [party for party, _ in claims]


def test_what_nobody_uses_is_kept_and_settled(desk: Bench) -> None:
    desk.tell(coupon(), coupon(5, percent="25"))

    assert ["unchanged"] == desk.work()
    assert 2 == desk.check().settled


def test_a_party_s_next_try_is_not_hurried_by_a_change(desk: Bench) -> None:
    desk.tell(*discounted())
    desk.leases.postpone("stripe:cus_1", 30_000)
    due = desk.due_in()
    desk.redis.sadd(keys.uses(catalogue("stripe", "coupon:half")), "stripe:cus_1")

    desk.tell(coupon())
    desk.jobs.run(catalogue("stripe", "coupon:half"))

    assert due == pytest.approx(desk.due_in(), abs=2)
