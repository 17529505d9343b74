"""Recurring money is exact until it is rounded once, half up, in its own currency.

What prices and discounts come to is in `tests/cases/stripe.toml`; here are the laws, the
currencies, and the words for what is not known.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.money import (
    BRIDGE_MINOR,
    OWN,
    STRIPE,
    PricedItem,
    UnknownError,
    bridged,
    decimals,
    discounted,
    exact,
    item_amount,
    major,
    minor_decimals,
    monthly,
    total,
)
from tests.support.lives import law

# --- Currencies -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "digits"),
    [
        ("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF", 0),
        ("BHD JOD KWD OMR TND", 3),
        ("ISK HUF TWD UGX", 2),
        ("USD EUR IQD", 2),
    ],
)
def test_stripe_s_minor_units_are_those_of_its_page(codes, digits) -> None:
    """https://docs.stripe.com/currencies, read on 2026-11-29. UGX is in two lists there.

    The special case says what an amount holds.
    """
    assert {digits} == {minor_decimals(c, "stripe") for c in codes.lower().split()}


@pytest.mark.parametrize(
    ("currency", "own", "stripe", "chargebee"),
    [
        ("usd", 2, 2, 2),
        ("jpy", 0, 0, 0),
        ("ugx", 0, 2, 0),
        ("isk", 0, 2, 0),
        ("kwd", 3, 3, 2),
        ("iqd", 3, 2, 2),
        ("clf", 4, 2, 2),
        ("mga", 2, 0, 2),
        ("huf", 2, 2, 2),
    ],
)
def test_a_currency_s_decimals_are_not_those_of_its_amounts(
    currency, own, stripe, chargebee
) -> None:
    of_sources = [minor_decimals(currency, s) for s in ("stripe", "chargebee")]

    assert [own, stripe, chargebee] == [decimals(currency), *of_sources]


def test_the_bridge_s_own_units_are_those_of_version_0_1() -> None:
    """Amounts that stand in Redis of sources that tell major units."""
    none = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf"
    three = dict.fromkeys(["bhd", "jod", "kwd", "omr", "tnd"], 3)

    assert dict.fromkeys(none.split(), 0) | three == BRIDGE_MINOR


@law(50)
@given(
    st.decimals(0, 10**9, places=3),
    st.sampled_from([*OWN, "usd", "mga", "xyz"]),
    st.booleans(),
)
def test_what_was_stored_in_the_bridge_s_units_is_as_it_came(
    amount: Decimal, currency: str, is_major: bool
) -> None:
    told = 0 if is_major else decimals(currency)
    stored = format(bridged(amount, currency, told), "f")

    assert Fraction(amount) / 10**told == exact(Fraction(stored), currency, "acme")


@pytest.mark.parametrize(
    ("minor", "currency", "expected"),
    [
        (5000, "usd", 50),
        (5001, "usd", 50.01),
        (Fraction(10001, 2), "usd", 50.01),
        (Fraction(4999999, 10_000_000), "usd", 0),
        (Fraction(9999, 2), "jpy", 5000),
        (3_700_049, "ugx", 37_000),
        (Fraction(100_000, 12), "mga", 8333.33),
        (Fraction(51205, 10), "kwd", 5.121),
        (0, "usd", 0),
        (Fraction(-1, 2), "usd", -0.01),
        (Fraction(-1, 3), "usd", 0),
        (-5000, "usd", -50),
    ],
)
def test_minor_units_of_stripe_are_rounded_once_half_up(
    minor, currency, expected
) -> None:
    """A whole amount is a whole number: 100.0 in JSON differs from what Vitally says."""
    amount = major(Fraction(minor), currency, "stripe")

    assert (expected, type(expected)) == (amount, type(amount))


def test_one_amount_is_worth_another_at_another_source() -> None:
    found = [major(Fraction(3_700_000), "ugx", s) for s in ("stripe", "chargebee")]

    assert [37_000, 3_700_000] == found


@law()
@given(
    st.fractions(0, 10**15, max_denominator=3650),
    st.sampled_from(["usd", "jpy", "kwd"]),
)
def test_a_rounded_amount_is_the_nearest_and_written_exactly(minor, currency) -> None:
    written = Fraction(repr(major(minor, currency, "stripe")))
    scaled = written * 10 ** decimals(currency)

    assert -Fraction(1, 2) < scaled - minor <= Fraction(1, 2)
    assert 0 == scaled % 1


@pytest.mark.parametrize(
    ("amount", "interval", "count", "expected"),
    [
        (1000, "week", 1, 4330),
        (100, "day", 30, 100),
        (12_000, "year", 1, 1000),
        (3000, "month", 3, 1000),
    ],
)
def test_a_business_may_count_weeks_and_days_in_its_own_way(
    amount, interval, count, expected
) -> None:
    own = STRIPE._replace(week=Fraction("4.33"), day=Fraction(30))

    assert expected == monthly(Fraction(amount), interval, count, own)


# --- Items --------------------------------------------------------------------

TIERS = [{"up_to": 5, "unit": "700"}, {"up_to": None, "unit": "600"}]
FLAT = [{"up_to": 5, "flat": "1000"}, {"up_to": None, "unit": "100", "flat": "500"}]
OPEN = [{"up_to": 5, "unit": "7"}, {"up_to": None}]
SHORT = [{"up_to": 10, "unit": "1"}]


def tiered(quantity: int, mode: str | None, tiers: Any) -> dict[str, Any]:
    item = {"scheme": "tiered", "tiers": tiers, "quantity": quantity}
    return item | ({"tiers_mode": mode} if mode else {})


@pytest.mark.parametrize(
    ("expected", "item"),
    [
        (5000, {"unit": "2000", "quantity": "2.5"}),
        (Fraction(7, 10**12), {"unit": "0.000000000001", "quantity": 7}),
        (1000, tiered(0, "graduated", FLAT)),
        (1000, tiered(0, "volume", FLAT)),
        (10, tiered(10, "volume", SHORT)),
        (28, tiered(4, "volume", OPEN)),
        (28, tiered(4, "graduated", OPEN)),
        ("unit amount", {"quantity": 3}),
        ("the tiers of its price", {"scheme": "tiered", "unit": "100"}),
        ("the tiers of its price", tiered(3, "volume", [])),
        ("how its tiers add up", tiered(3, None, TIERS)),
        ("how its tiers add up", tiered(3, "both", TIERS)),
        ("no amount", tiered(3, "volume", [{"up_to": None}])),
        ("no amount", tiered(3, "graduated", [{"up_to": 1}, *TIERS])),
        ("end below", tiered(11, "volume", SHORT)),
        ("end below", tiered(11, "graduated", SHORT)),
        ("not in order", tiered(3, "volume", TIERS[::-1])),
        ("not in order", tiered(3, "volume", [*SHORT, *SHORT])),
        ("not in order", tiered(3, "graduated", [*TIERS, *TIERS])),
        ("packages", {"unit": "100", "package": {"by": 5, "round": "half"}}),
        ("packages", {"unit": "100", "package": {"by": None, "round": "up"}}),
        ("packages", {"unit": "100", "package": {}}),
    ],
)
def test_an_item_costs_what_its_price_says_and_what_is_not_told_is_not_nothing(
    item, expected
) -> None:
    if isinstance(expected, str):
        with pytest.raises(UnknownError, match=expected):
            item_amount(item)
    else:
        assert expected == item_amount(item)


# --- Discounts ----------------------------------------------------------------


def off(terms: str, duration: str = "forever", **more: Any) -> dict[str, Any]:
    """`50%` or an amount in cents."""
    known = {"coupon": "example", "duration": duration}
    if terms.endswith("%"):
        return known | {"percent": terms[:-1]} | more
    return known | {"amount": terms, "currency": "usd"} | more


def item(cents: int, product: str | None = "a", *rhythm: Any, tax: str = "0"):
    interval, count = rhythm or ("month", 1)
    gross = monthly(Fraction(cents), interval, count)
    return PricedItem(gross, product, (interval, count), tax=Fraction(tax))


ONE = [item(10_000)]
TWO = [item(2000, "a"), item(8000, "b")]
YEARLY = item(12_000, "b", "year", 1)
SAME = [item(4000, "a"), item(4000, "b")]


def left(items: list[PricedItem], *discounts: Any, **more: Any) -> Fraction | str:
    """What is left of all *items* a month, or why that is not known."""
    try:
        return total(discounted(items, discounts, "usd", **more))
    except UnknownError as error:
        return str(error)


@pytest.mark.parametrize(
    ("expected", "items", "discounts"),
    [
        (10_000, ONE, [off("1000", "once", currency="eur")]),
        (0, ONE, [off("20000"), off("50%"), off("100")]),
        (9000, TWO, [off("1000")]),
        (5500, [*ONE, YEARLY], [off("50%")]),
        (9000, TWO, [off("10%", products=[])]),
        (2500, [item(2000), YEARLY], [off("500", products=["a"])]),
        (-500, [item(-1000)], [off("50%")]),
        (4000, SAME, [off("4000", among=["a", "b"])]),
        (6000, [*SAME, item(2000)], [off("4000", among=["a", "b"])]),
    ],
)
def test_a_discount_comes_off_what_it_is_for(expected, items, discounts) -> None:
    assert expected == left(items, *discounts)


TERMS = "the terms of discount example are not known"
EURO = "discount example is in eur, not in usd"
NO_CURRENCY = "discount example is in None, not in usd"
PRODUCT = "which items discount example is for is not known"
AMONG = "whether coupon example is for all products is in no event: STRIPE_API_KEY"


@pytest.mark.parametrize(
    ("reason", "items", "discount"),
    [
        ("the terms of discount di_1 are not known", ONE, {"id": "di_1"}),
        ("the terms of discount a discount are not known", ONE, {}),
        (TERMS, ONE, {"id": "di_1", "coupon": "example"}),
        (TERMS, ONE, {"coupon": "example", "percent": "50"}),
        (TERMS, ONE, {"coupon": "example", "duration": "forever"}),
        (EURO, ONE, off("1000", currency="eur")),
        (NO_CURRENCY, ONE, off("1000", currency=None)),
        (PRODUCT, [item(2000, None)], off("50%", products=["a"])),
        (PRODUCT, [item(2000), item(2000, None)], off("50%", products=["a"])),
        (AMONG, SAME, off("50%", among=["a", "b"])),
        (AMONG, SAME, off("4001", among=["a", "b"])),
        (AMONG, SAME, off("1000", among=["a", "c"])),
        (AMONG, [*SAME, item(1000, "a", tax="0.2")], off("500", among=["a", "b"])),
        (AMONG, TWO, off("2001", among=["a", "b"])),
        ("taken off items with different intervals", [*ONE, YEARLY], off("1000")),
    ],
)
def test_a_discount_that_is_not_known_makes_the_sum_unknown(
    items, reason, discount
) -> None:
    assert reason in str(left(items, off("10%"), discount))
    assert reason in str(left(items, discount, off("10%")))


@law()
@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
    st.lists(
        st.one_of(
            st.integers(0, 100).map(lambda n: off(f"{n}%")),
            st.integers(1, 10**6).map(lambda n: off(str(n))),
        ),
        max_size=4,
    ),
)
def test_a_discount_gives_nothing_back(cents, discounts) -> None:
    found = left([item(n) for n in cents], *discounts)

    assert isinstance(found, Fraction)
    assert 0 <= found <= sum(cents)


def test_an_amount_off_each_week_is_as_many_a_month_as_the_policy_says() -> None:
    own = STRIPE._replace(week=Fraction(4))
    weekly = PricedItem(Fraction(4000), "a", ("week", 1))

    assert 3600 == left([weekly], off("100"), policy=own)


ACTIVE = STRIPE._replace(discounts="active")
MONTHS = off("10%", "repeating")
UNENDING = "when discount example will end is not known"


@pytest.mark.parametrize(
    ("expected", "discount"),
    [
        (9000, {**MONTHS, "ends": 5}),
        (10_000, {**MONTHS, "ends": 4}),
        (UNENDING, MONTHS),
        (UNENDING, off("10%", "once", **{"from": 3})),
        (9000, off("10%", "once")),
        (9000, off("10%", **{"from": 3})),
    ],
)
def test_a_discount_for_a_time_counts_until_its_end(expected, discount) -> None:
    assert expected == left(ONE, discount, policy=ACTIVE, now=4)


def test_terms_that_do_not_count_need_not_be_known() -> None:
    assert 10_000 == left(ONE, {"id": "di_1"}, policy=STRIPE._replace(discounts="none"))


def test_each_item_says_which_discounts_it_had() -> None:
    discounts = [off("50%", products=["a"]), off("10", coupon=None, id="di_2")]

    taken = [one.taken for one in discounted(TWO, discounts, "usd")]

    assert [("example", "di_2"), ("di_2",)] == taken
