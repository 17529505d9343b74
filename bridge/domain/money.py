"""Recurring money: what counts, what an item costs a month, what discounts take off.

All arithmetic is exact. Amounts are `Fraction`s of the minor units (cents) of their source;
`exact` turns them into major units, and `rounded` rounds once, half up, at the end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

from bridge.domain.values import Discount, Item, Package, Tier

# --- The choices of a business ----------------------------------------------------

DISCOUNTS = ("forever", "active", "all", "none")
"""Which discounts lower the MRR: those without an end; each until its end; all that are
attached, whatever their end; none."""

STATUSES = ("active", "past_due", "trialing", "paused", "unpaid")
"""Statuses that may count in MRR."""

EMPTY = ("null", "zero")
"""The value of `mrr` while no subscription counts. In Vitally any number, even 0, makes
an account subscribed."""

INTERVALS = ("day", "week", "month", "year")
"""The billing intervals of items."""

MONTHS = {"month": Fraction(1), "year": Fraction(1, 12)}
"""Those of which every business has equally many in a month."""


class Policy(NamedTuple):
    """The choices that a business makes; the defaults are Stripe's.

    *week* and *day*: how many of them are in a month. *rates*: the value of one major
    unit of each currency in *base*, for accounts that pay in several currencies. *owners*:
    for a trait or the name, the sources that set it, the strongest first. *crm*: the
    sources that know customers better than money. *use*: the optional traits that it wants.
    """

    discounts: str = "forever"
    statuses: frozenset[str] = frozenset({"active", "past_due"})
    empty: str = "null"
    week: Fraction = Fraction(52, 12)
    day: Fraction = Fraction(365, 12)
    base: str | None = None
    rates: Mapping[str, Fraction] = {}
    owners: Mapping[str, Sequence[str]] = {}
    crm: frozenset[str] = frozenset()
    use: frozenset[str] = frozenset()

    def order(self, trait: str, *, billing: bool) -> Callable[[str], tuple[Any, ...]]:
        """Return the sort key of sources for *trait*: as listed, else *billing* first.

        If not *billing* (for what a CRM knows better), CRMs come first.
        """
        listed = list(self.owners.get(trait, ()))

        def key(source: str) -> tuple[Any, ...]:
            place = listed.index(source) if source in listed else len(listed)
            return place, (source in self.crm) == billing, source

        return key

    def per_month(self, interval: str) -> Fraction:
        """How many of *interval*, one of INTERVALS, are in a month."""
        return {"week": self.week, "day": self.day, **MONTHS}[interval]

    def rate(self, currency: str) -> Fraction | None:
        """The value of one unit of *currency* in *base*; None: not known."""
        return Fraction(1) if currency == self.base else self.rates.get(currency)


STRIPE = Policy()
"""https://docs.stripe.com/billing/subscriptions/analytics/glossary"""


ZERO = Fraction(0)


# --- What is not known --------------------------------------------------------------


class UnknownError(Exception):
    """A value is unknown from the facts. It is left out with this reason, never guessed."""

    def about(self, name: str) -> UnknownError:
        """The same with the *name* of what is unknown at the beginning of the reason."""
        return type(self)(f"{name}: {self}")


class NeverToldError(UnknownError):
    """The same, where its source's API tells no more than its events."""


# --- Currencies ---------------------------------------------------------------------

USUAL = 2


def _decimals(**lists: str) -> dict[str, int]:
    """Currency -> decimals, of `none="jpy krw", three="kwd"`."""
    count = {"none": 0, "three": 3, "four": 4}
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
"""The bridge's own minor units, for amounts that a source gives in major ones. What
stands in Redis is written in them, so they must stay as they are."""

MINOR = {"stripe": STRIPE_MINOR, "chargebee": CHARGEBEE_MINOR}
"""Sources whose facts keep amounts as they came; all others convert to BRIDGE_MINOR."""


def decimals(currency: str) -> int:
    """The decimals of a currency; *currency* is in lower case."""
    return OWN.get(currency, USUAL)


def minor_decimals(currency: str, source: str) -> int:
    """How many decimals the whole minor units in the facts of *source* have."""
    return MINOR.get(source, BRIDGE_MINOR).get(currency, USUAL)


def bridged(amount: Decimal, currency: str, told: int = 0) -> Decimal:
    """Convert *amount*, given with *told* decimals (0: major units), to the bridge's units."""
    return amount.scaleb(BRIDGE_MINOR.get(currency, USUAL) - told)


def exact(minor: Fraction, currency: str, source: str) -> Fraction:
    """*minor* units, as *source* counts them, in major units of *currency*."""
    scale = 10 ** minor_decimals(currency, source)
    return Fraction(minor.numerator, minor.denominator * scale)


def rounded(amount: Fraction, currency: str) -> int | float:
    """Round major units once, half up, to the currency's own decimals: a JSON number."""
    scale: int = 10 ** decimals(currency)
    twice, below = 2 * scale * abs(amount.numerator), amount.denominator
    whole = (twice + below) // (2 * below) * (1 if amount >= 0 else -1)
    return whole // scale if whole % scale == 0 else whole / scale


def major(minor: Fraction, currency: str, source: str) -> int | float:
    """*minor* units of *source* as a JSON number in major units, rounded once."""
    return rounded(exact(minor, currency, source), currency)


def money(amount: float, currency: str | None) -> str:
    """An amount in major units with its currency."""
    return f"{figure(amount, currency)} {(currency or '').upper()}".rstrip()


def cents(amount: float, currency: str | None) -> str:
    """A part of an amount, with its sign."""
    sign = "+" if amount > 0 else "\N{MINUS SIGN}"
    return f"{sign}{figure(abs(amount), currency)}" if amount else "0"


def figure(amount: float, currency: str | None) -> str:
    """An amount with the decimals of its currency, and with what is less than a cent."""
    digits = decimals((currency or "").lower())
    is_whole = round(amount, digits) == round(amount, digits + 4)
    return f"{amount:,.{digits if is_whole else digits + 4}f}"


# --- What an item costs -------------------------------------------------------------


def monthly(
    amount: Fraction, interval: str, count: int, policy: Policy = STRIPE
) -> Fraction:
    """The amount for one month, if *amount* is paid every *count* intervals."""
    if interval == "month":
        return amount / count if count != 1 else amount
    return amount * policy.per_month(interval) / count


def item_amount(item: Item) -> Fraction:
    """Minor units of one licensed item in one of its own intervals, tax included.

    A missing quantity means one: https://docs.stripe.com/api/subscriptions/create.
    """
    quantity = _parsed(item.get("quantity", 1))
    if item.get("scheme") == "tiered":
        return _tiered(item.get("tiers", []), item.get("tiers_mode"), quantity)
    if "unit" not in item:
        raise UnknownError("its unit amount is not in the event")
    return _parsed(item["unit"]) * _billed(item.get("package"), quantity)


_parsed = lru_cache(1000)(Fraction)  # the same prices come again and again


def _billed(package: Package | None, quantity: Fraction) -> Fraction | int:
    """Units that are billed (https://docs.stripe.com/api/prices: transform_quantity)."""
    if package is None:
        return quantity
    by, way = package.get("by"), package.get("round")
    if not by or way not in {"up", "down"}:
        reason = "how its quantity is rounded to packages is not in the event"
        raise UnknownError(reason)
    return -(-quantity // by) if way == "up" else quantity // by


def _tiered(tiers: Sequence[Tier], mode: str | None, quantity: Fraction) -> Fraction:
    """https://docs.stripe.com/subscriptions/pricing-models/tiered-pricing.

    Volume: the tier that contains the total sets the price of all units. Graduated: each
    tier is charged for the units in it, and the first tier always.
    """
    if not tiers:
        raise UnknownError("the tiers of its price are not in the event")
    if mode not in {"volume", "graduated"}:
        raise UnknownError("how its tiers add up is not in the event")
    told = (tier.get("up_to") for tier in tiers)
    ends: list[float | Fraction] = [inf if end is None else end for end in told]
    if any(end >= following for end, following in pairwise(ends)):
        raise UnknownError("the tiers of its price are not in order")
    last = bisect_left(ends, quantity)
    if last == len(tiers):
        raise UnknownError("the tiers of its price end below its quantity")
    if mode == "volume":
        return _tier_amount(tiers[last], quantity)
    amount, below = Fraction(0), Fraction(0)
    tops = [*(Fraction(end) for end in ends[:last]), quantity]
    for tier, top in zip(tiers[: last + 1], tops, strict=True):
        amount += _tier_amount(tier, top - below)
        below = top
    return amount


def _tier_amount(tier: Tier, units: Fraction) -> Fraction:
    """An amount for each of *units*, a flat amount, or both; an absent one is 0."""
    if not {"unit", "flat"} & tier.keys():
        raise UnknownError("a tier of its price has no amount in the event")
    return Fraction(tier.get("flat", 0)) + Fraction(tier.get("unit", 0)) * units


# --- Discounts ----------------------------------------------------------------------


class PricedItem(NamedTuple):
    """An item in money: its *monthly* amount, its product and its billing interval.

    *gross* is the monthly amount before discounts; *taken* names the discounts that
    counted. *tax* is the inclusive tax as a share of the net price.
    """

    monthly: Fraction
    product: str | None
    interval: tuple[str, int]
    price: str = ""
    quantity: int = 1
    gross: Fraction = ZERO
    taken: tuple[str, ...] = ()
    tax: Fraction = ZERO

    def without_tax(self) -> PricedItem:
        """The same item without the tax that its price includes."""
        if not self.tax:
            return self
        net = 1 + self.tax
        return self._replace(monthly=self.monthly / net, gross=self.gross / net)


def total(items: Iterable[PricedItem]) -> Fraction:
    """The monthly cost of *items*."""
    return added([item.monthly for item in items])


def added(amounts: Sequence[Fraction]) -> Fraction:
    """The sum of *amounts*; most often there is one, and nothing to add."""
    return sum(amounts[1:], amounts[0]) if amounts else ZERO


def discounted(
    items: Sequence[PricedItem],
    discounts: Iterable[Discount],
    currency: str,
    policy: Policy = STRIPE,
    now: int = 0,
) -> list[PricedItem]:
    """Apply *discounts* in their order, each to what the one before left.

    The *policy* says which of them count at *now* (ms). The terms of every discount that
    may count must be known.
    """
    counting = [discount for discount in discounts if _counts(discount, policy, now)]
    left = list(items)
    for discount in counting:
        after = _take_off(left, discount, currency, policy)
        if "among" in discount and any(item.monthly for item in left):
            is_last = discount is counting[-1]
            if not (is_last and _is_same_for_any(left, after, discount)):
                raise UnknownError(
                    f"whether coupon {_label(discount)} is for all products is in no "
                    "event: STRIPE_API_KEY lets the bridge read it"
                )
        left = after
    return left


def _label(discount: Discount) -> str:
    """The name of a discount for people."""
    return str(discount.get("coupon") or discount.get("id") or "a discount")


def _counts(discount: Discount, policy: Policy, now: int) -> bool:
    """Whether a discount lowers the MRR."""
    if policy.discounts == "none":
        return False
    if "duration" not in discount or not {"percent", "amount"} & discount.keys():
        raise UnknownError(f"the terms of discount {_label(discount)} are not known")
    if policy.discounts == "forever":
        return discount["duration"] == "forever"
    is_for_a_time = discount["duration"] == "repeating" or "from" in discount
    is_open = discount["duration"] != "forever" and "ends" not in discount
    if policy.discounts == "active" and is_for_a_time and is_open:
        raise UnknownError(f"when discount {_label(discount)} will end is not known")
    return policy.discounts == "all" or discount.get("ends", now + 1) > now


def _take_off(
    items: list[PricedItem], discount: Discount, currency: str, policy: Policy
) -> list[PricedItem]:
    """Divide the amount of a *discount* among the items that it applies to."""
    label, products = _label(discount), discount.get("products")
    if products and any(item.product is None for item in items):
        raise UnknownError(f"which items discount {label} is for is not known")
    chosen = [item for item in items if not products or item.product in products]
    if not total(chosen):
        return items
    left = _share_left(discount, chosen, currency, policy)

    def cut(item: PricedItem) -> PricedItem:
        return item._replace(monthly=item.monthly * left, taken=(*item.taken, label))

    return [cut(item) if item in chosen else item for item in items]


def _share_left(
    discount: Discount, chosen: Sequence[PricedItem], currency: str, policy: Policy
) -> Fraction:
    """The share of what *chosen* items cost that a discount leaves; at least 0."""
    if "percent" in discount:
        return max(1 - Fraction(discount["percent"]) / 100, Fraction(0))
    other = discount.get("currency")
    if other != currency:
        reason = f"discount {_label(discount)} is in {other}, not in {currency}"
        raise UnknownError(reason)
    # An amount is taken off each invoice, so it has the billing interval.
    rhythms = {item.interval for item in chosen}
    if len(rhythms) > 1:
        raise UnknownError("a fixed amount is taken off items with different intervals")
    off = monthly(Fraction(discount["amount"]), *rhythms.pop(), policy)
    before = total(chosen)
    return max((before - off) / before, Fraction(0))


def _is_same_for_any(
    before: Sequence[PricedItem], after: Sequence[PricedItem], discount: Discount
) -> bool:
    """Whether the result is the same for each of the products *among* a discount.

    It is for an amount, if all these products are present, each costs at least the
    amount, and all items have the same tax. It never is for a percentage.
    """
    if "percent" in discount or len({item.tax for item in before}) > 1:
        return False
    costs = {item.product: Fraction(0) for item in before}
    for item in before:
        costs[item.product] += item.monthly
    off = total(before) - total(after)
    return set(discount["among"]) <= costs.keys() and off <= min(costs.values())
