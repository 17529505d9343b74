"""When the source itself has to be asked, since its events do not tell enough."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.account import Party
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.money import Policy
from bridge.domain.refresh import newest_notice, refresh_early_by, why_refresh
from bridge.domain.values import REFRESHED, TO_REFRESH

DAY = 86_400_000
ITEM = {"unit": "5000", "interval": "month", "ends": 30 * DAY}
LIVE = {"status": "active", "currency": "usd", "items": [ITEM]}
UNTOLD = {"discounts": [{"id": "di_1"}]}


def told(thing: str, day: int, value: dict[str, Any], rank: int = 2) -> Fact:
    event = f"evt_{thing}_{day}_{rank}"
    return Fact("x:1", thing, Stamp(False, day * DAY, rank), event, "k", value, event)


def sub(number: int = 1, /, rank: int = 2, day: int = 1, **more: Any) -> Fact:
    return told(f"subscription:sub_{number}", day, LIVE | more, rank)


BORN = told("customer", 0, {"name": "Acme"}, Rank.CREATED)
MET = told("customer", 1, {"name": "Acme"})
NOTICE = told(TO_REFRESH, 2, {"event": "evt_thin"})


def refreshed(day: int = 2, answers: int = -1, **more: Any) -> Fact:
    return told(REFRESHED, day, {TO_REFRESH: answers, **more}, Rank.FROM_API)


def read(*args: int, **more: Any) -> Fact:
    """A subscription as a refresh told it."""
    return sub(*args, rank=Rank.FROM_API, **more)


def party(*facts: Fact) -> Party:
    return Party("x:1", fold(History(facts)))


def both(*discounts: dict[str, Any]) -> dict[str, Any]:
    """A subscription of two products."""
    items = [{**ITEM, "product": product} for product in ("prod_1", "prod_2")]
    return {"items": items, "discounts": list(discounts)}


HALF = {"id": "di_1", "coupon": "half", "percent": "50", "duration": "forever"}
FOR_ALL = {**HALF, "products": []}
ONE = {"items": [{**ITEM, "product": "prod_1"}] * 2, "discounts": [HALF]}
UNENDED = {"items": [{"unit": "5000", "interval": "month"}]}
OTHER = sub(quantity=9)._replace(event="evt_other", after="other")

MID_LIFE = "it was first met in mid-life"
NO_CONTENT = "an event without content came"
TERMS = "sub_1: the terms of discount di_1 are not known"
PERIOD = "sub_1: the end of its period is not in the event"
SCOPE = (
    "sub_1: whether coupon half is for all products is in no event: "
    "STRIPE_API_KEY lets the bridge read it"
)
ORDER = "sub_1: the order of its events is not certain"


@pytest.mark.parametrize(
    ("expected", "facts"),
    [
        (None, [BORN]),
        (None, [BORN, sub()]),
        (MID_LIFE, [MET, sub()]),
        (None, [MET, sub(), refreshed()]),
        # A backfill has read it, and there is nothing that no event has.
        (None, [MET, read(), told(REFRESHED, 2, {}, Rank.FROM_API)]),
        # A discount of which nobody told what it is for.
        (SCOPE, [BORN, sub(**both(HALF))]),
        (None, [BORN, sub(**ONE)]),
        (None, [BORN, sub(**both(FOR_ALL))]),
        (None, [BORN, sub(**both({**HALF, "duration": "once"}))]),
        # What a refresh said of it answers for later events.
        (
            None,
            [
                BORN,
                sub(**both({"id": "di_1"}), day=3),
                refreshed(discounts={"di_1": FOR_ALL}),
            ],
        ),
        (
            "sub_1: the terms of discount other are not known",
            [
                BORN,
                sub(**both({"id": "di_1", "coupon": "other"}), day=3),
                refreshed(discounts={"di_1": FOR_ALL}),
            ],
        ),
        # A refresh of version 0.1 is made again for its discounts and for no more.
        (SCOPE, [BORN, read(**both(HALF)), refreshed(1)]),
        (None, [BORN, read(discounts=[HALF]), refreshed(1)]),
        (None, [BORN, read(**both(HALF)), refreshed(discounts={"di_1": HALF})]),
        # An event without content is read until a refresh answers it.
        (NO_CONTENT, [BORN, NOTICE]),
        (NO_CONTENT, [BORN, NOTICE, refreshed(3, answers=2 * DAY - 1)]),
        (None, [BORN, NOTICE, refreshed(3, answers=2 * DAY)]),
        (NO_CONTENT, [BORN, told(TO_REFRESH, 0, {})]),
        (NO_CONTENT, [BORN, told(TO_REFRESH, 0, {}), told(REFRESHED, 1, {}, 9)]),
        # An amount that is not told, if it counts.
        (TERMS, [BORN, sub(**UNTOLD)]),
        (None, [BORN, read(**UNTOLD)]),
        ("sub_1: the event holds only a part of its items", [BORN, sub(more=True)]),
        (
            "sub_1: an item: its unit amount is not in the event",
            [BORN, sub(items=[{}])],
        ),
        (None, [BORN, sub(status="canceled", **UNTOLD)]),
        (None, [BORN, sub(status="trialing", **UNTOLD)]),
        (None, [BORN, sub(status="paused", **UNTOLD)]),
        (TERMS, [BORN, sub(status="past_due", **UNTOLD)]),
        (TERMS, [BORN, read(0, **UNTOLD), sub(**UNTOLD), sub(2, status="canceled")]),
        # An end of a period.
        (PERIOD, [BORN, sub(**UNENDED)]),
        (PERIOD, [BORN, sub(**UNENDED, cancel_at_period_end=True)]),
        (None, [BORN, sub(**UNENDED, status="paused")]),
        (ORDER, [BORN, sub(), OTHER]),
    ],
)
def test_a_party_is_refreshed_for_what_its_events_do_not_tell(expected, facts) -> None:
    assert expected == why_refresh(party(*facts), Policy(), 9 * DAY)


def test_the_policy_says_what_counts() -> None:
    trial = party(BORN, sub(status="trialing", **UNTOLD))
    all_untold = party(BORN, sub(**UNTOLD))

    assert TERMS == why_refresh(trial, Policy(statuses=frozenset({"trialing"})), 0)
    assert why_refresh(all_untold, Policy(discounts="none"), 0) is None
    months = {**HALF, "duration": "repeating", "ends": 9 * DAY}
    for_a_time = party(BORN, sub(**both(months)))
    active = Policy(discounts="active")
    assert SCOPE == why_refresh(for_a_time, active, 9 * DAY - 1)
    assert why_refresh(for_a_time, active, 9 * DAY) is None


TWICE = told(TO_REFRESH, 2, {"twice": True})


@pytest.mark.parametrize(
    ("newest", "early", "facts"),
    [
        (-1, 0, [BORN]),
        (2 * DAY, 0, [BORN, NOTICE, refreshed(answers=DAY)]),
        (2 * DAY, 0, [BORN, TWICE]),
        (2 * DAY, DAY, [BORN, TWICE, refreshed(answers=DAY)]),
        (2 * DAY, 0, [BORN, TWICE, refreshed(answers=3 * DAY)]),
    ],
)
def test_a_refresh_may_have_come_before_all_of_a_merge_was_there(
    newest, early, facts
) -> None:
    found = party(*facts)

    assert (newest, early) == (newest_notice(found), refresh_early_by(found))
