"""How many decimals a currency has, and how many each source gives its minor unit.

The two differ: an amount of UGX 500 is five shillings at Stripe, whose shilling has two
decimals for the sake of older integrations, and five hundred at Chargebee. An amount is
divided as its source writes it, and rounded to the currency's own decimals.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

USUAL = 2


def _decimals(**lists: str) -> dict[str, int]:
    """Currency -> decimals, of `none="jpy krw", three="kwd"`."""
    count = {"none": 0, "two": 2, "three": 3, "four": 4}
    return {code: count[n] for n, codes in lists.items() for code in codes.split()}


OWN: Mapping[str, int] = _decimals(
    none="bif clp djf gnf isk jpy kmf krw pyg rwf ugx uyi vnd vuv xaf xof xpf",
    three="bhd iqd jod kwd lyd omr tnd",
    four="clf uyw",
)
"""Currencies that have not two decimals: ISO 4217, list one (the column *minor unit*)."""

STRIPE: Mapping[str, int] = _decimals(
    none="bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf",
    three="bhd jod kwd omr tnd",
)
"""https://docs.stripe.com/currencies: *zero-decimal*, *three-decimal* and *special cases*.

The page has UGX among the currencies without decimals and then, like ISK, among the
special cases: two decimals that are always 00. HUF and TWD are special in payouts alone.
"""

CHARGEBEE: Mapping[str, int] = {code: n for code, n in OWN.items() if n < USUAL}
"""https://apidocs.chargebee.com/docs/api/currencies: a currency without decimals (as in
ISO 4217) is told in whole units, every other one in hundredths, dinars too."""

BRIDGE: Mapping[str, int] = {**STRIPE, "ugx": 0}
"""The bridge's own minor units, for amounts that a source tells in major ones. What
stands in Redis is written in them, so that they must stay as they are."""

SOURCES: Mapping[str, Mapping[str, int]] = {"stripe": STRIPE, "chargebee": CHARGEBEE}
"""Sources whose facts hold amounts as they came; all others turn them into BRIDGE's."""


def decimals(currency: str) -> int:
    """Digits after the point of the currency itself; *currency* in lower case."""
    return OWN.get(currency, USUAL)


def minor_decimals(currency: str, source: str) -> int:
    """Digits after the point of which amounts in the facts of *source* are counted."""
    return SOURCES.get(source, BRIDGE).get(currency, USUAL)


def bridged(amount: Decimal, currency: str, told: int = 0) -> Decimal:
    """*amount*, counted with *told* decimals (0: major units), in the bridge's units."""
    return amount.scaleb(BRIDGE.get(currency, USUAL) - told)
