"""A change of what many customers use reaches them, and whoever looks meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.facts import Fact, Rank, Stamp, catalogue
from bridge.store import keys
from bridge.store.accept import Origin
from bridge.store.lease import Claim
from bridge.store.view import Outcome
from tests.support.desk import NOON, Bench, customer, subscription

DISCOUNT = {"id": "di_1", "coupon": "half"}
HALF = catalogue("stripe", "coupon:half")


def coupon(at: int = 0, **more: Any) -> Fact:
    """The terms of coupon `half`, *at* seconds after noon."""
    value = {"percent": "50", "duration": "forever", **more}
    stamp, event = Stamp(False, NOON + at * 1000, Rank.CREATED), f"evt_coupon_{at}"
    return Fact(HALF, "coupon:half", stamp, event, "coupon.created", value, event)


def discounted(name: str = "cus_1", account: str = "acme") -> list[Fact]:
    owner = customer(name, account=account)
    return [owner, subscription(name, f"sub_{name}", at=1, discounts=[DISCOUNT])]


def test_terms_that_come_later_reach_every_party_that_uses_them(desk: Bench) -> None:
    accounts = [f"acme-{n}" for n in range(5)]
    parties = [discounted(f"cus_{account}", account) for account in accounts]
    words = desk.rests(*(fact for facts in parties for fact in facts))
    assert ["created"] * 5 == words
    assert not any("mrr" in desk.traits(account) for account in accounts)

    assert ["unchanged"] == desk.does(coupon())
    desk.passes(1000)
    assert ["updated"] * 5 == desk.work()
    assert [225] * 5 == [desk.traits(account)["mrr"] for account in accounts]
    assert not desk.redis.zcard(keys.DIRTY)


def test_terms_that_came_before_are_found(desk: Bench) -> None:
    desk.does(coupon())

    assert ["created"] == desk.does(*discounted())
    assert 225 == desk.traits()["mrr"]


def test_the_write_of_a_customer_names_the_delivery_of_the_coupon(desk: Bench) -> None:
    desk.rests(*discounted())
    taken = desk.accept.facts("stripe", [coupon()], Origin("delivery-cpn"))
    desk.queue.push(Claim(HALF, taken.claim), "coupon.created")
    desk.work()
    desk.passes(1000)

    assert ["updated"] == desk.work()
    (last, *_) = desk.look.record("acme", ["stripe:cus_1"]).history
    assert ["delivery-cpn"] == last["deliveries"]
    assert "deliveries" not in desk.claim()


def test_a_change_while_a_job_runs_is_not_lost(desk: Bench) -> None:
    desk.rests(*discounted())
    desk.tell(subscription(at=2, discounts=[DISCOUNT], sub="sub_cus_1"))
    before = desk.leases.begin(desk.popped())
    assert before is not None
    desk.tell(coupon())
    desk.jobs.run(HALF)

    claims = desk.leases.ack(before, Outcome("unchanged", known=True))
    assert ["stripe:cus_1"] == [claim.party for claim in claims]


def test_what_nobody_uses_is_kept_and_settled(desk: Bench) -> None:
    assert ["unchanged"] == desk.does(coupon(), coupon(5, percent="25"))
    assert 2 == desk.check().settled


def test_a_party_s_next_try_is_not_hurried_by_a_change(desk: Bench) -> None:
    desk.tell(*discounted())
    desk.leases.postpone("stripe:cus_1", 30_000)
    due = desk.due_in()
    desk.redis.sadd(keys.uses(HALF), "stripe:cus_1")
    desk.tell(coupon())
    desk.jobs.run(HALF)

    assert due == pytest.approx(desk.due_in(), abs=2)
