"""What a fact may say: the value of each kind of thing, and the words that it uses.

JSON types only. Amounts are decimal text in the minor units of their source, instants
are whole milliseconds since the epoch (UTC). What nobody told is left out, never
guessed; so every key may be missing, unless it is `Required`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Required, TypedDict

Value = Mapping[str, Any]
"""One of the kinds below, where it does not matter which."""

MOST = 2**53
"""Bound of every number in a fact or a trait, either way: whole numbers up to it are kept
exactly by every reader of JSON."""

LONGEST = 2000
"""Characters of a text that is a trait."""


def shortened(text: str, most: int = LONGEST) -> str:
    """*text*, or as much of it as *most* characters hold, the last of them `…`."""
    return text if len(text) <= most else text[: most - 1] + "…"


# Names of things: whole ones, and beginnings that an id follows.

CUSTOMER, NAME, EMAIL = "customer", "name", "email"
LINK = "link"
"""An operator's word on whose account a party is."""
TO_REFRESH, REFRESHED = "thin", "read"
"""That the source has to be asked about a party, and what it said that no event tells."""
SUBSCRIPTION, DISCOUNT, CHECKOUT = "subscription:", "discount:", "checkout:"
PART = "part:"
TRAIT = "trait:"
EXTRA = "extra:"
"""Says of a subscription, without its customer, that something on it is priced nowhere."""

PARTS = ("ends", "ended", "plan")
"""Parts of a subscription that may be told apart, each with a stamp of its own."""


def part(id_: str, name: str) -> str:
    """The thing of one part of the subscription *id_*."""
    return f"{PART}{id_}:{name}"


# Words in values.

VOID = "void"
"""Status of what is no subscription, or not any more: a deal that is not won."""

ENDED = frozenset({"canceled", "incomplete_expired", VOID})
"""Statuses of a subscription that is over."""

LIVE = frozenset({"active", "past_due"})
"""Counted in MRR, as Stripe does; `unpaid` is churn there and here."""

UNTOLD = "untold"
"""Usage of an item that is paid on top of the others and told in no event."""

REFRESH_TWICE = "twice"
"""Of a notice without content: a refresh in its own second is followed by another."""


class Names(TypedDict, total=False):
    """Which account a thing names; anything that belongs to a customer may do so."""

    account: str
    rank: int
    """Of the rule that found it, 0 the strongest; default: 0 of the customer, else 1."""
    claims: str
    """The account that a stranger wrote into a form; it names none."""


Dated = TypedDict("Dated", {"from": int, "until": int}, total=False)
"""What counts from one instant until another."""


class Terms(TypedDict, total=False):
    """What a coupon takes off, *percent* or *amount*; it never changes."""

    percent: str
    amount: str
    currency: str
    duration: str
    """Where it is told, so are all the terms but *products*."""
    products: list[str]
    """Those that it is limited to; [] where it is known to be for all."""


TERMS = tuple(Terms.__annotations__)


class Coupon(Terms, total=False):
    """`coupon:ID@CREATED` in the catalogue."""

    created: int
    deleted: bool


class Discount(Terms, Dated, Names, total=False):
    """A discount: listed on a subscription, an item or the customer, or told alone.

    Told alone it is of a *subscription* or one *item* of it, else of the customer.
    """

    id: str
    coupon: str
    start: int
    ends: int
    subscription: str
    item: str
    replaces: str
    """The id of the discount whose place it took."""
    deleted: bool
    among: list[str]
    """Made in the domain: products of which nobody told whether it is for them."""


class Customer(Names, total=False):
    """`customer`: by itself, or with its name and address told apart (`name`, `email`)."""

    name: str | None
    email: str | None
    deleted: bool
    discounts: list[Discount]
    into: str
    """The party that it became, where two were merged."""


class Tier(TypedDict, total=False):
    """Up to how many units (None: all above) a *unit* costs what, and what all do."""

    up_to: Required[int | None]
    unit: str
    flat: str


class Package(TypedDict):
    """Units are sold *by* so many; None: not told."""

    by: int | None
    round: str | None


class Item(Dated, total=False):
    """One price that a subscription pays."""

    price: str
    product: str
    name: str | None
    product_name: str | None
    lookup: str | None
    unit: str
    quantity: int
    """Left out: 1."""
    interval: str
    count: int
    """Every so many intervals; left out: 1."""
    ends: int
    """The end of its current period."""
    currency: str
    """Where items of one subscription have several."""
    usage: str
    """`metered`, UNTOLD; left out: licensed."""
    one_time: bool
    scheme: str
    tiers_mode: str
    tiers: list[Tier]
    package: Package
    inclusive: bool
    """Its price includes a tax."""
    tax: list[str | None]
    """Percentages of inclusive taxes; None: of a rate that is not told."""
    discounts: list[Discount]


class Subscription(Names, total=False):
    """`subscription:ID`: all of it, as its source told it at one instant."""

    status: Required[str]
    currency: str
    items: list[Item]
    more: bool
    """There are more items than these."""
    mrr: str
    """Where the source counts it itself: minor units a month."""
    plan: str
    ends: int
    no_renewal: bool
    trial_end: int
    trialing_until: int
    """The end of a trial during which its source calls it active."""
    ended_at: int
    cancel_at: int
    cancel_at_period_end: bool
    paused: bool
    discounts: list[Discount]
    single: bool
    """It has one discount at a time, as all had before `discounts`."""
    tax: list[str | None]
    automatic_tax: bool
    extras: bool
    """Things on it without a price may be told apart (`extra:ID`)."""


class Part(TypedDict, total=False):
    """`part:ID:NAME`: one of PARTS; empty where that was cleared."""

    ends: int
    ended: int
    plan: str


class Named(TypedDict, total=False):
    """A price or product in the catalogue; its names alone can change."""

    name: str | None
    lookup: str | None
    created: int
    deleted: bool


_Is = TypedDict("_Is", {"is": str | int | float | bool | None})


class Trait(_Is, Names, total=False):
    """`trait:NAME`: what the source says of a trait as it is; None clears it."""


class Extra(TypedDict):
    """`extra:ID`."""

    told: bool


class Notice(TypedDict, total=False):
    """TO_REFRESH: something changed, and the event does not say what."""

    event: str
    twice: bool


class Refreshed(TypedDict, total=False):
    """REFRESHED: what the source's API told that no event does."""

    thin: int
    """The newest notice that it answers (ms)."""
    tiers: Mapping[str, Tiers]
    """By price."""
    names: Mapping[str, str]
    """By product."""
    discounts: Mapping[str, Discount]
    """By id."""


class Tiers(TypedDict, total=False):
    """The part of a price that is in no event."""

    tiers: list[Tier]
    tiers_mode: str


AnyValue = (
    Customer
    | Names
    | Subscription
    | Part
    | Discount
    | Coupon
    | Named
    | Extra
    | Trait
    | Notice
    | Refreshed
)
"""The value of a fact that a source makes: mypy takes no dictionary beside these."""
