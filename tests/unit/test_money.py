"""Recurring money is exact until it is rounded once, half up, in its own currency."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.money import (
    PricedItem,
    Unknown,
    decimals,
    discounted,
    item_amount,
    major,
    monthly,
)
from bridge.domain.policy import STRIPE
from tests.support.lives import law

MONTH = ("month", 1)
YEAR = ("year", 1)


# --- Currencies and rounding --------------------------------------------------


@pytest.mark.parametrize(
    ("minor", "currency", "expected"),
    [
        (Fraction(5000), "usd", 50),
        (Fraction(5001), "usd", 50.01),
        (Fraction(10001, 2), "usd", 50.01),
        (Fraction(10000, 3), "usd", 33.33),
        (Fraction(20000, 3), "usd", 66.67),
        (Fraction(1, 2), "usd", 0.01),
        (Fraction(4999999, 10_000_000), "usd", 0),
        (Fraction(5000), "jpy", 5000),
        (Fraction(9999, 2), "jpy", 5000),
        (Fraction(500_000), "isk", 5000),
        (Fraction(500_050), "isk", 5001),
        (Fraction(3_700_000), "ugx", 37_000),
        (Fraction(3_700_049), "ugx", 37_000),
        (Fraction(5001), "huf", 50.01),
        (Fraction(5001), "twd", 50.01),
        (Fraction(100_000, 12), "mga", 8333.33),
        (Fraction(5120), "kwd", 5.12),
        (Fraction(51205, 10), "kwd", 5.121),
        (Fraction(0), "usd", 0),
        (Fraction(-1, 2), "usd", -0.01),
        (Fraction(-1, 3), "usd", 0),
    ],
)
def test_minor_units_of_stripe_are_rounded_once_half_up(
    minor, currency, expected
) -> None:
    assert expected == major(minor, currency, "stripe")


def test_a_whole_amount_is_a_whole_number() -> None:
    """100.0 in JSON would differ from what Vitally gives back."""
    assert type(major(Fraction(10_000), "usd", "stripe")) is int
    assert type(major(Fraction(10_050), "usd", "stripe")) is float


@law()
@given(
    st.fractions(0, 10**15, max_denominator=3650),
    st.sampled_from(["usd", "jpy", "kwd"]),
)
def test_a_rounded_amount_is_the_nearest_and_written_exactly(minor, currency) -> None:
    scale = 10 ** decimals(currency)

    found = Decimal(repr(major(minor, currency, "stripe")))

    assert abs(Fraction(found) * scale - minor) <= Fraction(1, 2)
    assert Fraction(found) * scale - minor != Fraction(-1, 2)
    assert 0 == found * scale % 1


# --- Intervals ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "interval", "count", "currency", "expected"),
    [
        (5000, "month", 1, "usd", 50),
        (120_000, "year", 1, "usd", 100),
        (60_000, "month", 3, "usd", 200),
        (30_000, "month", 6, "usd", 50),
        (240_000, "year", 2, "usd", 100),
        (1000, "week", 1, "usd", 43.33),
        (1000, "week", 2, "usd", 21.67),
        (100, "day", 1, "usd", 30.42),
        (100, "day", 30, "usd", 1.01),
        (5000, "month", 1, "jpy", 5000),
        (5000, "year", 1, "jpy", 417),
        (1000, "week", 1, "kwd", 4.333),
    ],
)
def test_every_interval_is_brought_to_a_month(
    amount, interval, count, currency, expected
) -> None:
    a_month = monthly(Fraction(amount), interval, count)

    assert expected == major(a_month, currency, "stripe")


@law(50)
@given(
    st.fractions(0, 10**9, max_denominator=10**6),
    st.sampled_from(["day", "month", "week", "year"]),
    st.integers(1, 36),
)
def test_a_month_of_an_amount_is_exact(amount, interval, count) -> None:
    a_year = {"month": 12, "year": 1, "week": 52, "day": 365}[interval]

    assert amount * a_year == monthly(amount, interval, count) * 12 * count


@law(50)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=30))
def test_a_sum_of_thirds_loses_nothing(amounts: list[int]) -> None:
    total = sum((monthly(Fraction(a), "year", 1) for a in amounts), Fraction(0))

    assert Fraction(sum(amounts), 12) == total


# --- Items --------------------------------------------------------------------

TIERS = [
    {"up_to": 5, "unit": "700"},
    {"up_to": 10, "unit": "650"},
    {"up_to": None, "unit": "600"},
]
"""https://docs.stripe.com/subscriptions/pricing-models/tiered-pricing."""

FLAT = [{"up_to": 5, "flat": "1000"}, {"up_to": None, "unit": "100", "flat": "500"}]


def tiered(
    quantity: int, mode: str | None, tiers: list[dict[str, Any]]
) -> dict[str, Any]:
    item = {"scheme": "tiered", "tiers": tiers, "quantity": quantity}
    return item | ({"tiers_mode": mode} if mode else {})


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"unit": "5000"}, 5000),
        ({"unit": "5000", "quantity": 3}, 15_000),
        ({"unit": "5000", "quantity": 0}, 0),
        ({"unit": "0"}, 0),
        ({"unit": "0.5", "quantity": 10_000}, 5000),
        ({"unit": "0.5"}, Fraction(1, 2)),
        ({"unit": "0.000000000001", "quantity": 7}, Fraction(7, 10**12)),
        (tiered(1, "volume", TIERS), 700),
        (tiered(5, "volume", TIERS), 3500),
        (tiered(6, "volume", TIERS), 3900),
        (tiered(20, "volume", TIERS), 12_000),
        (tiered(1, "graduated", TIERS), 700),
        (tiered(5, "graduated", TIERS), 3500),
        (tiered(6, "graduated", TIERS), 4150),
        (tiered(8, "graduated", TIERS), 5450),
        (tiered(20, "graduated", TIERS), 12_750),
        (tiered(0, "graduated", FLAT), 1000),
        (tiered(0, "volume", FLAT), 1000),
        (tiered(5, "graduated", FLAT), 1000),
        (tiered(6, "graduated", FLAT), 1600),
        (tiered(5, "volume", FLAT), 1000),
        (tiered(6, "volume", FLAT), 1100),
        (tiered(10, "volume", [{"up_to": 10, "unit": "1"}]), 10),
        (tiered(1, "graduated", [{"up_to": None, "unit": "0"}]), 0),
        (tiered(4, "volume", [{"up_to": 5, "unit": "7"}, {"up_to": None}]), 28),
        (tiered(4, "graduated", [{"up_to": 5, "unit": "7"}, {"up_to": None}]), 28),
    ],
)
def test_an_item_costs_what_its_price_says(item, expected) -> None:
    assert expected == item_amount(item)


@pytest.mark.parametrize(
    ("quantity", "up", "down"),
    [(0, 0, 0), (1, 1, 0), (99, 1, 0), (100, 1, 1), (101, 2, 1), (250, 3, 2)],
)
def test_a_package_is_billed_whole(quantity, up, down) -> None:
    item = {"unit": "1000", "quantity": quantity}
    found = [
        item_amount(item | {"package": {"by": 100, "round": way}})
        for way in ("up", "down")
    ]

    assert [1000 * up, 1000 * down] == found


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"quantity": 3}, "unit amount"),
        ({"scheme": "tiered", "quantity": 3}, "tiers"),
        ({"scheme": "tiered", "quantity": 3, "tiers": []}, "tiers"),
        ({"scheme": "tiered", "quantity": 3, "unit": "100"}, "tiers"),
        (tiered(3, None, TIERS), "how its tiers add up"),
        (tiered(3, "both", TIERS), "how its tiers add up"),
        (tiered(3, "volume", [{"up_to": None}]), "no amount"),
        (tiered(3, "graduated", [{"up_to": None}]), "no amount"),
        (tiered(3, "graduated", [{"up_to": 1}, *TIERS]), "no amount"),
        (tiered(11, "volume", [{"up_to": 10, "unit": "1"}]), "end below"),
        (tiered(11, "graduated", [{"up_to": 10, "unit": "1"}]), "end below"),
        (tiered(3, "volume", TIERS[::-1]), "not in order"),
        (tiered(3, "graduated", [*TIERS, *TIERS]), "not in order"),
        ({"unit": "100", "package": {"by": 5}}, "packages"),
        ({"unit": "100", "package": {"by": 5, "round": None}}, "packages"),
        ({"unit": "100", "package": {"by": 5, "round": "half"}}, "packages"),
        ({"unit": "100", "package": {"by": None, "round": "up"}}, "packages"),
        ({"unit": "100", "package": {}}, "packages"),
    ],
)
def test_what_an_event_does_not_tell_is_unknown_and_never_nothing(item, reason) -> None:
    found = item_amount(item)

    assert isinstance(found, Unknown)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("expected", "share"),
    [
        (Fraction(12_000), Fraction(0)),
        (Fraction(10_000), Fraction(1, 5)),
        (Fraction(12_000 * 1000, 1077), Fraction(77, 1000)),
    ],
)
def test_inclusive_tax_is_taken_out_of_a_line_exactly(
    expected: Fraction, share: Fraction
) -> None:
    line = PricedItem(Fraction(12_000), None, MONTH, gross=Fraction(24_000), tax=share)

    net = line.without_tax()

    assert (expected, 2 * expected) == (net.monthly, net.gross)


# --- Discounts ----------------------------------------------------------------


def percent(share: str, duration: str = "forever", **more: Any) -> dict[str, Any]:
    return {"coupon": "example", "percent": share, "duration": duration, **more}


def amount(minor: str, duration: str = "forever", **more: Any) -> dict[str, Any]:
    own = {"coupon": "example", "amount": minor, "currency": "usd"}
    return {**own, "duration": duration, **more}


def line(cents: int, product: str | None = "prod_1", rhythm=MONTH) -> PricedItem:
    return PricedItem(monthly(Fraction(cents), *rhythm), product, rhythm)


def left(lines: list[PricedItem], *discounts: dict[str, Any]) -> Fraction | str:
    """What is left of all *lines* a month, or why that is not known."""
    found = discounted(lines, discounts, "usd")
    if isinstance(found, Unknown):
        return found.reason
    return sum((one.monthly for one in found), Fraction(0))


@pytest.mark.parametrize(
    ("discounts", "expected"),
    [
        ([], 10_000),
        ([percent("50")], 5000),
        ([percent("33.33")], 6667),
        ([percent("100")], 0),
        ([percent("0")], 10_000),
        ([percent("50", "once")], 10_000),
        ([percent("50", "repeating")], 10_000),
        ([amount("1000", "once")], 10_000),
        ([percent("20"), percent("10")], 7200),
        ([percent("20"), amount("1000")], 7000),
        ([amount("1000"), percent("20")], 7200),
        ([amount("1000")], 9000),
        ([amount("20000")], 0),
        ([amount("20000"), percent("50"), amount("100")], 0),
        ([percent("50", "once"), percent("10")], 9000),
    ],
)
def test_discounts_come_off_in_their_order_if_they_last(discounts, expected) -> None:
    assert expected == left([line(10_000)], *discounts)


def test_an_amount_off_is_per_invoice() -> None:
    """$12 off a yearly invoice is $1 a month."""
    assert 9900 == left([line(120_000, rhythm=YEAR)], amount("1200"))
    assert 4900 == left([line(15_000, rhythm=("month", 3))], amount("300"))


def test_an_amount_off_is_shared_by_the_items() -> None:
    assert 9000 == left([line(2000), line(8000)], amount("1000"))


def test_an_amount_off_items_of_different_intervals_is_not_known() -> None:
    found = left([line(2000), line(8000, rhythm=YEAR)], amount("1000"))

    assert "different intervals" in str(found)


def test_a_share_off_items_of_different_intervals_is_known() -> None:
    assert 5500 == left([line(10_000), line(12_000, rhythm=YEAR)], percent("50"))


def test_a_discount_of_some_products_leaves_the_others_alone() -> None:
    lines = [line(2000, "prod_1"), line(8000, "prod_2")]

    assert 9000 == left(lines, percent("50", products=["prod_1"]))
    assert 8000 == left(lines, amount("5000", products=["prod_1"]))
    assert 10_000 == left(lines, percent("50", products=["prod_3"]))


def test_an_amount_off_one_product_may_stand_beside_other_intervals() -> None:
    lines = [line(2000, "prod_1"), line(12_000, "prod_2", YEAR)]

    assert 2500 == left(lines, amount("500", products=["prod_1"]))


def test_a_discount_of_some_products_and_an_item_without_one_is_not_known() -> None:
    """An old plan does not say its product: it may or may not be one of these."""
    for lines in ([line(2000, None)], [line(2000, "prod_1"), line(2000, None)]):
        found = left(lines, percent("50", products=["prod_1"]))

        assert "which items discount example is for is not known" == found


@pytest.mark.parametrize(
    "discount",
    [
        {"id": "di_1"},
        {"id": "di_1", "coupon": "example"},
        {"coupon": "example", "percent": "50"},
        {"coupon": "example", "duration": "forever"},
        amount("1000", currency="eur"),
        {"coupon": "example", "amount": "1000", "duration": "forever"},
    ],
)
def test_a_discount_whose_terms_are_not_known_makes_the_sum_unknown(discount) -> None:
    after = left([line(10_000)], percent("10"), discount)
    before = left([line(10_000)], discount, percent("10"))

    assert isinstance(after, str)
    assert after == before


def test_a_discount_that_takes_neither_a_share_nor_an_amount_has_no_terms() -> None:
    found = left([line(10_000)], {"coupon": "example", "duration": "forever"})

    assert "the terms of discount example are not known" == found


def test_an_amount_of_another_currency_does_not_matter_if_it_does_not_last() -> None:
    assert 10_000 == left([line(10_000)], amount("1000", "once", currency="eur"))


@law()
@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
    st.lists(
        st.one_of(
            st.integers(0, 100).map(lambda n: percent(str(n))),
            st.integers(1, 10**6).map(lambda n: amount(str(n))),
        ),
        max_size=4,
    ),
)
def test_a_discount_gives_nothing_back(cents, discounts) -> None:
    found = left([line(n) for n in cents], *discounts)

    assert isinstance(found, Fraction)
    assert 0 <= found <= sum(cents)


# --- Other policies -----------------------------------------------------------

MONTHS = percent("50", "repeating", ends=2000)


@pytest.mark.parametrize(
    ("policy", "now", "expected"),
    [
        ("forever", 1000, 9000),
        ("active", 1000, 4500),
        ("active", 1999, 4500),
        ("active", 2000, 9000),
        ("all", 2000, 4500),
        ("none", 1000, 10_000),
    ],
)
def test_the_policy_says_which_discounts_count(policy, now, expected) -> None:
    chosen = STRIPE._replace(discounts=policy)
    discounts = [MONTHS, percent("10")]

    found = discounted([line(10_000)], discounts, "usd", chosen, now)

    assert not isinstance(found, Unknown)
    assert expected == sum(one.monthly for one in found)


def test_terms_that_do_not_count_need_not_be_known() -> None:
    none = STRIPE._replace(discounts="none")

    found = discounted([line(10_000)], [{"id": "di_1"}], "usd", none)

    assert [line(10_000)] == found


def test_a_business_may_count_weeks_and_days_in_its_own_way() -> None:
    own = STRIPE._replace(week=Fraction("4.33"), day=Fraction(30))

    assert 4330 == monthly(Fraction(1000), "week", 1, own)
    assert 3000 == monthly(Fraction(100), "day", 1, own)
    assert 1000 == monthly(Fraction(12_000), "year", 1, own)
