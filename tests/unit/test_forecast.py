"""Forecasts: what is scheduled, as it looks from each instant, and when they change."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from bridge.config import USED
from bridge.domain.account import Party, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.forecast import TRAITS
from bridge.domain.money import STRIPE, Policy
from bridge.domain.refresh import why_refresh
from bridge.domain.traits import OPTIONAL, instant
from bridge.domain.values import TO_REFRESH
from bridge.sources.stripe import SOURCE
from bridge.sources.stripe.facts import needed_events
from tests.support.reader import Reader

DAY = 86_400_000
MONTHLY = {"price": "price_1", "unit": "5000", "interval": "month", "ends": 30 * DAY}
ACTIVE = STRIPE._replace(use=TRAITS, discounts="active")
ONCE = {"coupon": "once", "percent": "50", "duration": "once"}
ENDLESS = {key: told for key, told in MONTHLY.items() if key != "ends"}
TRIAL = {"status": "trialing", "trial_end": 9 * DAY}
HALF = {"coupon": "half", "percent": "50", "duration": "repeating", "ends": 90 * DAY}


def doc(
    *values: dict[str, Any], day: float, source: str = "stripe", policy: Policy = ACTIVE
) -> Document:
    """The document of subscriptions with these *values* at a *day*, counted from 1970."""
    usual = {"status": "active", "currency": "usd", "items": [MONTHLY]}
    usual |= {"details": {"schedule": {}}}
    facts = [
        Fact(
            f"{source}:1", f"subscription:{n}", Stamp(False, 0, 2), "e", "k", v, str(n)
        )
        for n, value in enumerate(values)
        for v in [usual | value]
    ]
    party = Party(f"{source}:1", fold(History(facts)))
    return document(unite("acme", [party]), policy, int(day * DAY))


def forecasts(found: Document) -> list[Any]:
    names = ("forecastMrr", "forecastMrrChange", "forecastAt")
    return [found.traits.get(name, "?") for name in names]


def at(day: float) -> str:
    return instant(int(day * DAY))


LATER = {"cancel_at": 400 * DAY}
PHASES = [
    {"from": 20 * DAY, "items": [MONTHLY | {"quantity": 2}], "discounts": []},
    {"from": 50 * DAY, "items": [MONTHLY | {"quantity": 4}], "discounts": [HALF]},
]


def scheduled(**more: Any) -> dict[str, Any]:
    return {"details": {"schedule": {"phases": PHASES, **more}}}


@pytest.mark.parametrize(
    ("value", "looks"),
    [
        ({"cancel_at": 40 * DAY}, [(1, [0, -50, at(40)]), (41, [0, -50, at(40)])]),
        # No farther than a year; then it comes into sight.
        (LATER, [(1, [50, 0, None]), (36, [0, -50, at(400)])]),
        ({"discounts": [HALF]}, [(1, [50, 25, at(90)]), (91, [50, 0, None])]),
        ({"discounts": [ONCE]}, [(1, [50, 25, at(30)])]),
        ({"items": [MONTHLY | {"discounts": [ONCE]}]}, [(1, [50, 25, at(30)])]),
        ({"discounts": [ONCE], "items": [ENDLESS]}, [(1, ["?", "?", "?"])]),
        (TRIAL | {"discounts": [ONCE]}, [(1, ["?", "?", "?"])]),
        # It will pay, and end.
        (TRIAL | {"cancel_at": 40 * DAY}, [(1, [0, 0, at(40)])]),
        (TRIAL, [(1, [50, 50, at(9)])]),
        ({"status": "trialing"}, [(1, ["?", "?", "?"])]),
        ({"details": {}}, [(1, ["?", "?", "?"])]),
        ({"items": None, "mrr": "700", **LATER}, [(36, [0, -7, at(400)])]),
        (
            {"items": [MONTHLY, MONTHLY | {"from": 20 * DAY, "until": 30 * DAY}]},
            [(1, [50, 0, at(30)]), (25, [50, -50, at(30)]), (31, [50, 0, None])],
        ),
        (
            scheduled(),
            [(1, [200, 150, at(90)]), (60, [200, 150, at(90)])],
        ),
        # The customer's discount would stay, the subscription's own may end.
        (scheduled() | {"discounts": [HALF]}, [(1, ["?", "?", "?"])]),
        (scheduled(ends=80 * DAY), [(1, [0, -50, at(80)])]),
        (scheduled() | {"cancel_at": 55 * DAY}, [(1, [0, -50, at(55)])]),
        ({"status": "paused"} | scheduled(), [(1, [None, None, None])]),
    ],
)
def test_what_is_scheduled_is_seen_a_year_ahead_and_looked_at_again_in_time(
    value: dict[str, Any], looks: list[tuple[float, list[Any]]]
) -> None:
    value = {key: one for key, one in value.items() if one is not None}
    found = {day: doc(value, day=day) for day, _ in looks}

    assert [wanted for _, wanted in looks] == [*map(forecasts, found.values())]
    for (day, then), (later, now) in pairwise(found.items()):
        if forecasts(then) != forecasts(now):
            assert then.until is not None
            assert day * DAY < then.until <= later * DAY


@pytest.mark.parametrize(
    ("source", "known"), [("stripe", False), ("chargebee", False), ("hubspot", True)]
)
def test_whether_something_is_scheduled_must_be_told_where_it_can_be(
    source: str, known: bool
) -> None:
    found = doc({"details": {}}, day=1, source=source)

    assert known == ("forecastMrr" in found.traits)


def test_of_several_the_last_change_counts() -> None:
    ends: Iterable[dict[str, Any]] = ({"cancel_at": day * DAY} for day in (40, 60))

    assert [50, -100, at(60)] == forecasts(doc(*ends, {}, day=1))


@pytest.mark.parametrize(
    ("rates", "wanted"),
    [({"eur": Fraction(2)}, [100, 50]), ({}, ["?", "?"])],
)
def test_of_two_currencies_both_are_converted_or_neither_is_told(
    rates: dict[str, Fraction], wanted: list[Any]
) -> None:
    policy = ACTIVE._replace(base="usd" if rates else None, rates=rates)
    ends, comes = {"cancel_at": 20 * DAY}, TRIAL | {"currency": "eur"}

    found = doc(ends, comes, day=1, policy=policy)

    assert [*wanted, at(20)] == forecasts(found)
    assert 50 == found.traits["mrr"]


@pytest.mark.parametrize(
    ("value", "asks"),
    [
        ({"details": {}}, True),
        ({"details": {"schedule": {"unread": "not read"}}}, True),
        ({"status": "trialing"}, False),
        (scheduled() | {"discounts": [HALF]}, False),
        ({"discounts": [ONCE], "status": "trialing", "trial_end": DAY}, False),
    ],
)
def test_a_forecast_asks_for_no_reading_that_would_tell_no_more(
    value: dict[str, Any], asks: bool
) -> None:
    usual = {"status": "active", "currency": "usd", "items": [MONTHLY]}
    usual |= {"details": {"schedule": {}}}
    facts = [
        Fact("stripe:1", thing, Stamp(False, 0, Rank.CREATED), "e", "k", told, "a")
        for thing, told in {"customer": {}, "subscription:0": usual | value}.items()
    ]

    party = Party("stripe:1", fold(History(facts)))
    why = why_refresh(party, ACTIVE, DAY // 2)

    assert asks == (why is not None)
    assert why_refresh(party, ACTIVE._replace(use=frozenset()), DAY // 2) is None


def test_each_trait_that_looks_ahead_is_known_to_do_so() -> None:
    assert {name for name in OPTIONAL if name.startswith("forecast")} == TRAITS


def test_an_event_of_a_schedule_asks_for_a_reading_where_a_forecast_wants_it() -> None:
    kind = "subscription_schedule.updated"
    told = {"id": "sub_sched_1", "customer": "cus_1", "phases": [{"items": "any"}]}
    body = {"id": "evt_1", "type": kind, "created": 9, "data": {"object": told}}
    wants: dict[str, Any] = {USED: TRAITS, "STRIPE_API_KEY": "rk_live_example"}

    (fact,) = Reader(SOURCE, **wants).facts(body)

    assert ("stripe:cus_1", TO_REFRESH) == (fact.party, fact.thing)
    assert [] == Reader(SOURCE, **{USED: TRAITS}).facts(body)
    assert f"no handler of {kind}" == Reader(SOURCE).why_not(body)
    assert kind in needed_events(Reader(SOURCE, **wants).options)
    assert kind not in needed_events(Reader(SOURCE).options)
