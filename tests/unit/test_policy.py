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


GONE = {"status": "canceled", "ended_at": NOW}
LATE, TRIAL = {"status": "past_due"}, {"status": "trialing"}
UNTOLD = {"discounts": [{"id": "di_1"}]}
YEN = {"currency": "jpy", "items": [MONTHLY | {"unit": "5000"}]}
UGX = {"currency": "ugx", "items": [MONTHLY | {"unit": "3700000"}]}
ISK = {"currency": "isk", "items": [MONTHLY | {"unit": "500000"}]}
WEEKLY = {"items": [MONTHLY | {"interval": "week"}]}
DAILY = {"items": [MONTHLY | {"interval": "day"}]}

DOLLARS = Policy(base="usd", rates={"jpy": Fraction("0.0067")})
KRONUR = Policy(base="isk", rates={"ugx": Fraction("0.001"), "isk": Fraction(1)})
EUROS = Policy(base="usd", rates={"eur": Fraction(1)})
OWN_DAYS = Policy(week=Fraction("4.33"), day=Fraction(30))
STRICT = Policy(statuses=frozenset({"active"}))
WIDE = Policy(statuses=frozenset({"active", "trialing"}))


@pytest.mark.parametrize(
    ("policy", "lives", "mrr"),
    [
        # Terms that nobody needs need not be known.
        (Policy(discounts="none"), [UNTOLD], 100),
        (Policy(discounts="all"), [UNTOLD], "left out"),
        (Policy(), [{}, LATE, TRIAL], 200),
        (STRICT, [{}, LATE, TRIAL], 100),
        (WIDE, [{}, LATE, TRIAL], 200),
        (Policy(empty="null"), [GONE], None),
        (Policy(empty="zero"), [GONE], 0),
        (OWN_DAYS, [WEEKLY], 433),
        (OWN_DAYS, [DAILY], 3000),
        # Rates add several currencies up in the base; one stays what it is.
        (DOLLARS, [{}, YEN], 133.5),
        (DOLLARS, [YEN], 5000),
        # UGX 3,700,000 are 37,000 shillings at Stripe; in ISK as the base 37 kronur.
        (KRONUR, [UGX, ISK], 5037),
        (EUROS, [{}, {"currency": "gbp"}], "left out"),
    ],
)
def test_each_choice_makes_its_number(policy, lives, mrr) -> None:
    assert mrr == read(policy, *lives).traits.get("mrr", "left out")


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


def test_an_end_is_an_appointment_where_it_changes_the_number() -> None:
    policy, ended = Policy(discounts="active"), NOW + DAY

    assert ended == read(policy, REPEATING).until
    assert read(policy, REPEATING, now=ended).until is None
    assert 100 == read(policy, REPEATING, now=ended).traits["mrr"]
    assert read(Policy(), REPEATING).until is None
    assert read(Policy(discounts="all"), REPEATING).until is None


def test_a_rate_that_is_missing_is_named() -> None:
    doc = read(EUROS, {}, {"currency": "gbp"})

    assert "several currencies and no rates: GBP, USD" == doc.unknown["mrr"]
