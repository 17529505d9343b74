"""An amount is divided as its source writes it, and rounded to its currency's decimals."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.money import (
    BRIDGE_MINOR,
    OWN,
    bridged,
    decimals,
    exact,
    major,
    minor_decimals,
)
from tests.support.lives import law

CURRENCIES = [*OWN, "usd", "eur", "huf", "twd", "mga", "xyz"]

STRIPE_NONE = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
STRIPE_THREE = "BHD JOD KWD OMR TND"
STRIPE_SPECIAL = "ISK HUF TWD UGX"
"""https://docs.stripe.com/currencies, as it was read on 2026-11-29; UGX is on the page's
list without decimals too, and there the special case says what an amount holds."""


@pytest.mark.parametrize(
    ("codes", "digits"),
    [(STRIPE_NONE, 0), (STRIPE_THREE, 3), (STRIPE_SPECIAL, 2), ("USD EUR IQD", 2)],
)
def test_stripe_s_minor_units_are_those_of_its_page(codes, digits) -> None:
    for code in codes.lower().split():
        assert digits == minor_decimals(code, "stripe")


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
    found = [minor_decimals(currency, source) for source in ("stripe", "chargebee")]

    assert [own, stripe, chargebee] == [decimals(currency), *found]


def test_the_bridge_s_own_units_are_those_of_version_0_1() -> None:
    """Amounts that stand in Redis of sources that tell major units."""
    none = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf"
    three = "bhd jod kwd omr tnd"

    assert (
        dict.fromkeys(none.split(), 0) | dict.fromkeys(three.split(), 3) == BRIDGE_MINOR
    )


@law(50)
@given(
    st.decimals(0, 10**9, places=3),
    st.sampled_from(CURRENCIES),
    st.sampled_from(["hubspot", "acme"]),
)
def test_major_units_are_the_same_after_they_were_stored(
    amount: Decimal, currency: str, source: str
) -> None:
    stored = format(bridged(amount, currency), "f")

    assert Fraction(amount) == exact(Fraction(stored), currency, source)


@law(50)
@given(st.integers(0, 10**12), st.sampled_from(CURRENCIES))
def test_minor_units_of_iso_4217_are_read_in_them(minor: int, currency: str) -> None:
    stored = bridged(Decimal(minor), currency, decimals(currency))

    assert Fraction(minor, 10 ** decimals(currency)) == exact(
        Fraction(stored), currency, "acme"
    )


def test_one_amount_is_worth_another_at_another_source() -> None:
    found = [major(Fraction(3_700_000), "ugx", s) for s in ("stripe", "chargebee")]

    assert [37_000, 3_700_000] == found
