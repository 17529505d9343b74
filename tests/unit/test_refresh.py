"""When the source itself has to be asked, since its events do not tell enough."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.account import Party
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.money import Policy
from bridge.domain.refresh import newest_notice, why_refresh
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
EMPTY = told(TO_REFRESH, 2, {"event": "evt_thin"})


def reading(day: int, answers: int = -1) -> Fact:
    return told(REFRESHED, day, {TO_REFRESH: answers}, Rank.FROM_API)


def why(*facts: Fact, **policy: Any) -> str | None:
    party = Party("x:1", fold(History(facts)))
    return why_refresh(party, Policy(**policy), 9 * DAY)


def test_what_tells_enough_is_not_read() -> None:
    assert why(BORN, sub()) is None
    assert why(BORN) is None


def test_a_party_that_was_first_met_in_mid_life_is_read_once() -> None:
    assert why(MET, sub()) == "it was first met in mid-life"
    assert why(MET, sub(), reading(2)) is None


def item(product: str) -> dict[str, Any]:
    return {**ITEM, "product": product}


BOTH = [item("prod_1"), item("prod_2")]
HALF = {"id": "di_1", "coupon": "half", "percent": "50", "duration": "forever"}


def test_a_discount_of_which_nobody_told_what_it_is_for_is_read() -> None:
    expected = (
        "sub_1: whether coupon half is for all products is in no event: "
        "STRIPE_API_KEY lets the bridge read it"
    )
    assert expected == why(BORN, sub(items=BOTH, discounts=[HALF]))
    assert why(BORN, sub(items=BOTH[:1] * 2, discounts=[HALF])) is None
    for_all = {**HALF, "products": []}
    assert why(BORN, sub(items=BOTH, discounts=[for_all])) is None
    once = {**HALF, "duration": "once"}
    assert why(BORN, sub(items=BOTH, discounts=[once])) is None


def test_what_a_reading_said_of_a_discount_answers_for_later_events() -> None:
    read = told(
        REFRESHED,
        2,
        {TO_REFRESH: -1, "discounts": {"di_1": {**HALF, "products": []}}},
        Rank.FROM_API,
    )
    bare = sub(day=3, items=BOTH, discounts=[{"id": "di_1"}])

    assert why(BORN, bare, read) is None
    other = sub(day=3, items=BOTH, discounts=[{"id": "di_1", "coupon": "other"}])
    assert why(BORN, other, read) is not None


def test_a_reading_of_version_0_1_is_read_again_for_its_discounts_and_no_more() -> None:
    was_read = sub(rank=Rank.FROM_API, items=BOTH, discounts=[HALF])
    now = told(
        REFRESHED, 2, {TO_REFRESH: -1, "discounts": {"di_1": HALF}}, Rank.FROM_API
    )

    assert why(BORN, was_read, reading(1)) is not None
    assert why(BORN, sub(rank=Rank.FROM_API, discounts=[HALF]), reading(1)) is None
    assert why(BORN, was_read, now) is None


def test_an_event_without_content_is_read_until_a_reading_answers_it() -> None:
    assert why(BORN, EMPTY) == "an event without content came"
    assert why(BORN, EMPTY, reading(3, answers=2 * DAY - 1)) is not None
    assert why(BORN, EMPTY, reading(3, answers=2 * DAY)) is None


def test_an_event_without_content_is_read_even_from_the_first_instant_of_all() -> None:
    first = told(TO_REFRESH, 0, {})
    silent = told(REFRESHED, 1, {}, Rank.FROM_API)

    assert why(BORN, first) == "an event without content came"
    assert why(BORN, first, silent) == "an event without content came"


@pytest.mark.parametrize("missing", [UNTOLD, {"more": True}, {"items": [{}]}])
def test_an_amount_that_is_not_told_is_read(missing: dict[str, Any]) -> None:
    assert "sub_1: " in str(why(BORN, sub(**missing)))
    assert why(BORN, sub(rank=Rank.FROM_API, **missing)) is None


def test_what_has_ended_is_never_read_for() -> None:
    assert why(BORN, sub(status="canceled", **UNTOLD)) is None


def test_what_comes_after_one_that_needs_nothing_is_looked_at_too() -> None:
    ended, known = sub(1, status="canceled"), sub(2, rank=Rank.FROM_API, **UNTOLD)

    assert "sub_3: " in str(why(BORN, ended, known, sub(3, **UNTOLD)))


@pytest.mark.parametrize(
    ("status", "wanted"), [("trialing", False), ("paused", False), ("past_due", True)]
)
def test_an_amount_that_does_not_count_is_not_read(status: str, wanted: bool) -> None:
    assert wanted == (why(BORN, sub(status=status, **UNTOLD)) is not None)


def test_the_policy_says_what_counts() -> None:
    trial = sub(status="trialing", **UNTOLD)

    assert why(BORN, trial, statuses=frozenset({"trialing"})) is not None
    assert why(BORN, sub(**UNTOLD), discounts="none") is None


@pytest.mark.parametrize("more", [{}, {"cancel_at_period_end": True}])
def test_an_end_of_the_period_that_is_not_told_is_read(more: dict[str, Any]) -> None:
    unended = {"items": [{"unit": "5000", "interval": "month"}], **more}

    assert "the end of its period" in str(why(BORN, sub(**unended)))
    assert why(BORN, sub(status="paused", **unended)) is None


def test_an_order_that_is_not_certain_is_read() -> None:
    twice = [sub(rank=rank, quantity=rank) for rank in (2, 2)]
    twice[1] = twice[1]._replace(event="evt_other", after="other")

    assert "the order of its events is not certain" in str(why(BORN, *twice))


def test_a_reading_answers_the_newest_event_without_content() -> None:
    assert newest_notice(Party("x:1", fold(History([BORN, EMPTY])))) == 2 * DAY
    assert newest_notice(Party("x:1", fold(History([BORN])))) == -1
