"""What recurring money is: amounts, quantities, months; exact until one rounding.

Amounts are `Fraction`s of the source's minor units (cents) until `exact` makes them
major ones, and of these until `rounded` rounds once, half up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import inf
from typing import NamedTuple

from bridge.domain.policy import STRIPE, Policy
from bridge.domain.values import Discount, Item, Package, Tier

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

STRIPE_MINOR: Mapping[str, int] = _decimals(
    none="bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf",
    three="bhd jod kwd omr tnd",
)
"""https://docs.stripe.com/currencies: *zero-decimal*, *three-decimal* and *special cases*.

The page has UGX among the currencies without decimals and then, like ISK, among the
special cases: two decimals that are always 00. HUF and TWD are special in payouts alone.
"""

CHARGEBEE_MINOR: Mapping[str, int] = {code: n for code, n in OWN.items() if n < USUAL}
"""https://apidocs.chargebee.com/docs/api/currencies: a currency without decimals (as in
ISO 4217) is told in whole units, every other one in hundredths, dinars too."""

BRIDGE_MINOR: Mapping[str, int] = {**STRIPE_MINOR, "ugx": 0}
"""The bridge's own minor units, for amounts that a source tells in major ones. What
stands in Redis is written in them, so that they must stay as they are."""

MINOR: Mapping[str, Mapping[str, int]] = {
    "stripe": STRIPE_MINOR,
    "chargebee": CHARGEBEE_MINOR,
}
"""Sources whose facts hold amounts as they came; all others turn them into BRIDGE_MINOR's."""


def decimals(currency: str) -> int:
    """Digits after the point of the currency itself; *currency* in lower case."""
    return OWN.get(currency, USUAL)


def minor_decimals(currency: str, source: str) -> int:
    """Digits after the point of which amounts in the facts of *source* are counted."""
    return MINOR.get(source, BRIDGE_MINOR).get(currency, USUAL)


def bridged(amount: Decimal, currency: str, told: int = 0) -> Decimal:
    """*amount*, counted with *told* decimals (0: major units), in the bridge's units."""
    return amount.scaleb(BRIDGE_MINOR.get(currency, USUAL) - told)


class Unknown(NamedTuple):
    """A value that the facts do not tell, and why; never a guess."""

    reason: str


def exact(minor: Fraction, currency: str, source: str) -> Fraction:
    """*minor* units, as *source* counts them, in major units of *currency*."""
    return Fraction(minor, 10 ** minor_decimals(currency, source))


def rounded(amount: Fraction, currency: str) -> int | float:
    """Round major units once, half up, to the currency's own decimals: a JSON number."""
    digits = decimals(currency)
    units = abs(amount) * 10**digits
    whole = int(units + Fraction(1, 2)) * (1 if amount >= 0 else -1)
    found = Fraction(whole, 10**digits)
    return int(found) if found.denominator == 1 else float(found)


def major(minor: Fraction, currency: str, source: str) -> int | float:
    """*minor* units of *source* as a JSON number in major units, rounded once."""
    return rounded(exact(minor, currency, source), currency)


def monthly(
    amount: Fraction, interval: str, count: int, policy: Policy = STRIPE
) -> Fraction:
    """What *amount* every *count* intervals is in one month."""
    return amount * policy.per_month(interval) / count


def item_amount(item: Item) -> Fraction | Unknown:
    """Minor units of one licensed item in one of its own intervals, tax included.

    One without a quantity is one: https://docs.stripe.com/api/subscriptions/create.
    """
    quantity = Fraction(item.get("quantity", 1))
    if item.get("scheme") == "tiered":
        return _tiered(item, quantity)
    if "unit" not in item:
        return Unknown("its unit amount is not in the event")
    billed = _packages(item.get("package"), quantity)
    return billed if isinstance(billed, Unknown) else Fraction(item["unit"]) * billed


def _packages(package: Package | None, quantity: Fraction) -> Fraction | Unknown:
    """Units that are billed (https://docs.stripe.com/api/prices: transform_quantity)."""
    if package is None:
        return quantity
    by, way = package.get("by"), package.get("round")
    if not by or way not in {"up", "down"}:
        return Unknown("how its quantity is rounded to packages is not in the event")
    size, rest = divmod(quantity, by)
    return Fraction(size + (1 if rest and way == "up" else 0))


def _tiered(item: Item, quantity: Fraction) -> Fraction | Unknown:
    """https://docs.stripe.com/subscriptions/pricing-models/tiered-pricing.

    A tier has an amount a unit, a flat one or both; the one that is not told is none.
    """
    tiers, share = item.get("tiers"), SHARES.get(item.get("tiers_mode", ""))
    if not tiers:
        return Unknown("the tiers of its price are not in the event")
    if share is None:
        return Unknown("how its tiers add up is not in the event")
    if not _are_in_order(tiers):
        return Unknown("the tiers of its price are not in order")
    if _end(tiers[-1]) < quantity:
        return Unknown("the tiers of its price end below its quantity")
    total = Fraction(0)
    for tier, units in share(tiers, quantity):
        if not {"unit", "flat"} & tier.keys():
            return Unknown("a tier of its price has no amount in the event")
        total += Fraction(tier.get("flat", 0)) + Fraction(tier.get("unit", 0)) * units
    return total


Share = tuple[Tier, Fraction]
"""A tier, and how many units it is paid for."""


def _are_in_order(tiers: Sequence[Tier]) -> bool:
    """Whether each tier ends above the one before; the last alone may have no end."""
    return all(_end(one) < _end(other) for one, other in pairwise(tiers))


def _end(tier: Tier) -> float:
    """The last unit of a tier."""
    end = tier.get("up_to")
    return inf if end is None else end


def _volume(tiers: Sequence[Tier], quantity: Fraction) -> Iterator[Share]:
    """The whole quantity in the tier that holds it."""
    yield next(tier for tier in tiers if quantity <= _end(tier)), quantity


def _graduated(tiers: Sequence[Tier], quantity: Fraction) -> Iterator[Share]:
    """Each tier that is entered; the first one is in any case."""
    below = Fraction(0)
    for tier in tiers:
        top = quantity if quantity <= _end(tier) else Fraction(_end(tier))
        yield tier, top - below
        if top == quantity:
            return
        below = top


SHARES: Mapping[str, Callable[[Sequence[Tier], Fraction], Iterator[Share]]] = {
    "volume": _volume,
    "graduated": _graduated,
}
"""Ways in which tiers add up."""


class PricedItem(NamedTuple):
    """An item in money: its *monthly* amount, its product and its billing interval.

    *gross* is the monthly amount before discounts, *taken* names those that counted.
    *tax* is the share of the net price that is added to it as inclusive tax.
    """

    monthly: Fraction
    product: str | None
    interval: tuple[str, int]
    price: str = ""
    quantity: int = 1
    gross: Fraction = Fraction(0)
    taken: tuple[str, ...] = ()
    tax: Fraction = Fraction(0)

    def without_tax(self) -> PricedItem:
        """The same line without the tax that is part of its price."""
        if not self.tax:
            return self
        net = 1 + self.tax
        return self._replace(monthly=self.monthly / net, gross=self.gross / net)


def discounted(
    lines: Sequence[PricedItem],
    discounts: Iterable[Discount],
    currency: str,
    policy: Policy = STRIPE,
    now: int = 0,
) -> list[PricedItem] | Unknown:
    """Take *discounts* off in their order, each from what the one before left.

    The *policy* says which of them count at *now* (ms). One whose terms have to be
    known and are not makes all unknown.
    """
    counting: list[Discount] = []
    for discount in discounts:
        applies = _counts(discount, policy, now)
        if isinstance(applies, Unknown):
            return applies
        counting += [discount] if applies else []
    left = list(lines)
    for discount in counting:
        after = _take_off(left, discount, currency, policy)
        if isinstance(after, Unknown):
            return after
        if "among" in discount and any(line.monthly for line in left):
            is_last = discount is counting[-1]
            if not (is_last and _is_same_of_any(left, after, discount)):
                return Unknown(
                    f"whether coupon {label(discount)} is for all products is in no "
                    "event: STRIPE_API_KEY lets the bridge read it"
                )
        left = after
    return left


def _is_same_of_any(
    before: Sequence[PricedItem],
    after: Sequence[PricedItem],
    discount: Discount,
) -> bool:
    """Whether a discount leaves as much, whichever of several products it is for.

    An amount does where each product has as much, at one tax, and all are *before*.
    """
    if "percent" in discount or len({line.tax for line in before}) > 1:
        return False
    of: dict[str | None, Fraction] = {}
    for line in before:
        of[line.product] = of.get(line.product, Fraction(0)) + line.monthly
    off = sum((line.monthly for line in before), Fraction(0))
    off -= sum((line.monthly for line in after), Fraction(0))
    return set(discount["among"]) <= of.keys() and off <= min(of.values())


def label(discount: Discount) -> str:
    """How a discount is called where people read it."""
    return str(discount.get("coupon") or discount.get("id") or "a discount")


def _counts(discount: Discount, policy: Policy, now: int) -> bool | Unknown:
    """Whether a discount lowers the MRR."""
    if policy.discounts == "none":
        return False
    if "duration" not in discount or not {"percent", "amount"} & set(discount):
        return Unknown(f"the terms of discount {label(discount)} are not known")
    if policy.discounts == "forever":
        return bool(discount["duration"] == "forever")
    return policy.discounts == "all" or int(discount.get("ends", now + 1)) > now


def _take_off(
    lines: list[PricedItem], discount: Discount, currency: str, policy: Policy
) -> list[PricedItem] | Unknown:
    products = discount.get("products")
    chosen = [line for line in lines if not products or line.product in products]
    total = sum((line.monthly for line in chosen), Fraction(0))
    if products and any(line.product is None for line in lines):
        return Unknown(f"which items discount {label(discount)} is for is not known")
    if not total:
        return lines
    kept = _kept(discount, chosen, total, currency, policy)
    if isinstance(kept, Unknown):
        return kept
    return [
        line._replace(
            monthly=line.monthly * max(kept, Fraction(0)),
            taken=(*line.taken, label(discount)),
        )
        if not products or line.product in products
        else line
        for line in lines
    ]


def _kept(
    discount: Discount,
    chosen: Sequence[PricedItem],
    total: Fraction,
    currency: str,
    policy: Policy,
) -> Fraction | Unknown:
    """The part of *total* (a month) that a discount leaves; below 0 is possible."""
    if "percent" in discount:
        return 1 - Fraction(discount["percent"]) / 100
    other = discount.get("currency")
    if other != currency:
        return Unknown(f"discount {label(discount)} is in {other}, not in {currency}")
    # An amount is taken off each invoice, so it has the rhythm of the invoices.
    rhythms = {line.interval for line in chosen}
    if len(rhythms) > 1:
        return Unknown("an amount is taken off items of different intervals")
    off = monthly(Fraction(discount["amount"]), *rhythms.pop(), policy)
    return (total - off) / total
