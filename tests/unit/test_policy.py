"""What a business may choose about money, and what each choice makes of an account."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from bridge.domain.account import Account, Party, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.money import Policy

NOW = 1_700_000_000_000
DAY = 86_400_000
MONTHLY = {"unit": "10000", "interval": "month", "ends": NOW + 9 * DAY}


def account(*subscriptions: dict[str, Any]) -> Account:
    facts = [
        Fact(
            "stripe:cus_1",
            f"subscription:sub_{number}",
            Stamp(False, NOW, 0),
            f"evt_{number}",
            "customer.subscription.created",
            {"status": "active", "currency": "usd", "items": [MONTHLY]} | value,
            f"{number}",
        )
        for number, value in enumerate(subscriptions)
    ]
    return unite("acme", [Party("stripe:cus_1", fold(History(facts)))])


def read(policy: Policy, *subscriptions: dict[str, Any], now: int = NOW) -> Document:
    return document(account(*subscriptions), policy, now)


def half(**terms: Any) -> dict[str, Any]:
    return {"discounts": [{"coupon": "half", "percent": "50", **terms}]}


FOREVER = half(duration="forever")
REPEATING = half(duration="repeating", ends=NOW + DAY)
ENDED = half(duration="repeating", ends=NOW - DAY)
ONCE = half(duration="once")


@pytest.mark.parametrize(
    ("discounts", "amounts"),
    [
        ("forever", (50, 100, 100, 100)),
        ("active", (50, 50, 100, 50)),
        ("all", (50, 50, 50, 50)),
        ("none", (100, 100, 100, 100)),
    ],
)
def test_the_discounts_that_count_are_a_choice(discounts, amounts) -> None:
    policy = Policy(discounts=discounts)
    lives = (FOREVER, REPEATING, ENDED, ONCE)

    assert amounts == tuple(read(policy, life).traits["mrr"] for life in lives)


def test_terms_that_nobody_needs_need_not_be_known() -> None:
    unknown = {"discounts": [{"id": "di_1"}]}

    assert 100 == read(Policy(discounts="none"), unknown).traits["mrr"]
    assert "mrr" in read(Policy(discounts="all"), unknown).unknown


def test_an_end_that_changes_the_number_is_an_appointment() -> None:
    policy = Policy(discounts="active")

    assert NOW + DAY == read(policy, REPEATING).until
    assert read(policy, REPEATING, now=NOW + DAY).until is None
    assert 100 == read(policy, REPEATING, now=NOW + DAY).traits["mrr"]


def test_without_that_choice_time_changes_nothing() -> None:
    assert read(Policy(), REPEATING).until is None
    assert read(Policy(discounts="all"), REPEATING).until is None


def test_the_statuses_that_count_are_a_choice() -> None:
    late, trial = {"status": "past_due"}, {"status": "trialing"}

    assert 200 == read(Policy(), {}, late, trial).traits["mrr"]
    strict = Policy(statuses=frozenset({"active"}))
    assert 100 == read(strict, {}, late, trial).traits["mrr"]
    wide = Policy(statuses=frozenset({"active", "trialing"}))
    assert 200 == read(wide, {}, late, trial).traits["mrr"]


@pytest.mark.parametrize(("empty", "expected"), [("null", None), ("zero", 0)])
def test_the_number_where_nothing_counts_is_a_choice(empty, expected) -> None:
    gone = {"status": "canceled", "ended_at": NOW}

    assert expected == read(Policy(empty=empty), gone).traits["mrr"]


def test_weeks_and_days_are_a_choice() -> None:
    weekly = {"items": [MONTHLY | {"interval": "week"}]}
    daily = {"items": [MONTHLY | {"interval": "day"}]}
    policy = Policy(week=Fraction("4.33"), day=Fraction(30))

    assert 433 == read(policy, weekly).traits["mrr"]
    assert 3000 == read(policy, daily).traits["mrr"]


def test_rates_add_several_currencies_up_in_the_base() -> None:
    policy = Policy(base="usd", rates={"jpy": Fraction("0.0067")})
    yen = {"currency": "jpy", "items": [MONTHLY | {"unit": "5000"}]}

    assert 133.5 == read(policy, {}, yen).traits["mrr"]


def test_amounts_are_converted_from_the_units_of_their_source() -> None:
    """UGX 3,700,000 are 37,000 shillings at Stripe; in ISK as the base 37 kronur."""
    rates = {"ugx": Fraction("0.001"), "isk": Fraction(1)}
    shillings = {"currency": "ugx", "items": [MONTHLY | {"unit": "3700000"}]}
    kronur = {"currency": "isk", "items": [MONTHLY | {"unit": "500000"}]}

    found = read(Policy(base="isk", rates=rates), shillings, kronur)

    assert 5037 == found.traits["mrr"]


def test_one_currency_stays_what_it_is() -> None:
    policy = Policy(base="usd", rates={"jpy": Fraction("0.0067")})
    yen = {"currency": "jpy", "items": [MONTHLY | {"unit": "5000"}]}

    assert 5000 == read(policy, yen).traits["mrr"]


def test_a_missing_rate_leaves_the_number_out() -> None:
    policy = Policy(base="usd", rates={"eur": Fraction(1)})
    doc = read(policy, {}, {"currency": "gbp"})

    assert "mrr" not in doc.traits
    assert "several currencies and no rates: GBP, USD" == doc.unknown["mrr"]
