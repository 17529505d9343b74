"""What a fact may contain: the value of each kind of thing, and the words used in it.

Only JSON types. Amounts are decimal text in the minor units of their source; instants
are whole milliseconds since the epoch (UTC). Unknown things are left out, never guessed,
so every key may be missing unless it is `Required`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Required, TypedDict

Value = Mapping[str, Any]
"""The value of any kind below."""

MOST = 2**53
"""The largest absolute number in a fact or trait: every JSON reader keeps whole numbers up
to it exactly."""

SECOND_MS, DAY_MS = 1000, 86_400_000

LONGEST = 2000
"""Most characters of a text that is a trait."""


def shortened(text: str, most: int = LONGEST) -> str:
    """*text*, cut to *most* characters with `…` as the last one if it is longer."""
    return text if len(text) <= most else text[: most - 1] + "…"


# Names of things: complete names, and prefixes that an id follows.

CUSTOMER, NAME, EMAIL = "customer", "name", "email"
ORGANIZATION = "organization"
"""The organization that a field names; it comes before the one that the customer names."""
LINK = "link"
"""The thing with which an operator sets a party's account."""
TO_REFRESH, REFRESHED = "thin", "read"
"""A request to read a party from its source's API, and what the API returned."""
SUBSCRIPTION, DISCOUNT, CHECKOUT = "subscription:", "discount:", "checkout:"
PART = "part:"
TRAIT = "trait:"
EXTRA = "extra:"
"""Reports something on a subscription whose price no event has; it names no customer."""
PAYMENTS, BILLING = "payments", "billing"
PAYS, METHOD = "billing:subscription:", "billing:method:"
GRANTS = "billing:grants"
"""Taken in only while a trait about payments is in use."""

DUE, UNREAD = "due", "unread"
UNSETTLED = frozenset({"open", "failed", DUE, UNREAD})
"""Steps of an invoice that do not settle it; UNREAD is also the status of a card."""

PARTS = ("ends", "ended", "plan")
"""Parts of a subscription that may come in facts of their own, with their own stamps."""


def part(id_: str, name: str) -> str:
    """The name of the thing for one part of the subscription *id_*."""
    return f"{PART}{id_}:{name}"


# Words in values.

VOID = "void"
"""Status of something that is not (or no longer) a subscription, like a lost deal."""

ENDED = frozenset({"canceled", "incomplete_expired", VOID})
"""Statuses of a subscription that has ended."""

LIVE = frozenset({"active", "past_due"})
"""Statuses that count in MRR, as at Stripe; `unpaid` is churn there and here."""

UNTOLD = "untold"
"""The `usage` of an item that is paid in addition and that no event contains."""

REFRESH_TWICE = "twice"
"""In a notice without content: after a refresh in its own second, refresh once more."""


class Names(TypedDict, total=False):
    """The account that a thing names; anything that belongs to a customer may name one."""

    account: str
    rank: int
    """Rank of the rule that found it, 0 the strongest; default: 0 for the customer, else 1."""
    claims: str
    """An account that a stranger wrote into a form; it is shown but never used."""
    organization: str
    """The organization of the account, by its external id. Only the customer and the thing
    ORGANIZATION name one."""
    head: bool
    """Whether the customer is that organization itself, and no account."""


Dated = TypedDict("Dated", {"from": int, "until": int}, total=False)
"""Something that counts from one instant until another."""


class Terms(TypedDict, total=False):
    """What a coupon takes off: *percent* or *amount*. Terms never change."""

    percent: str
    amount: str
    currency: str
    duration: str
    """If it is known, so are all terms except *products*."""
    products: list[str]
    """The products that it is limited to; []: known to be for all."""


TERMS = tuple(Terms.__annotations__)


class Coupon(Terms, total=False):
    """`coupon:ID@CREATED` in the catalogue."""

    created: int
    deleted: bool


class Discount(Terms, Dated, Names, total=False):
    """A discount: in the list of a subscription, item or customer, or in a fact of its own.

    In a fact of its own, it belongs to a *subscription* or an *item* of it, else to the
    customer.
    """

    id: str
    coupon: str
    start: int
    ends: int
    subscription: str
    item: str
    replaces: str
    """The id of the discount that it replaced."""
    deleted: bool
    among: list[str]
    """Set by the domain: products to which it may or may not apply."""


class Customer(Names, total=False):
    """`customer`; its name and e-mail may also be facts of their own (`name`, `email`)."""

    name: str | None
    email: str | None
    deleted: bool
    discounts: list[Discount]
    into: str
    """The party that it became in a merge."""


class Tier(TypedDict, total=False):
    """A price tier: its last unit (None: no limit), and its price per *unit*, flat, or both."""

    up_to: Required[int | None]
    unit: str
    flat: str


class Package(TypedDict):
    """Units are sold in packages *by* so many; None: unknown."""

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
    """Number of intervals per billing; left out: 1."""
    ends: int
    """The end of its current period."""
    currency: str
    """Set if the items of one subscription have several currencies."""
    usage: str
    """`metered`, UNTOLD; left out: licensed."""
    one_time: bool
    scheme: str
    tiers_mode: str
    tiers: list[Tier]
    package: Package
    priced_as: str
    """Where the price's own currency is not the subscription's: `PRICE:CURRENCY`."""
    inclusive: bool
    """Whether its price includes a tax."""
    tax: list[str | None]
    """Percentages of inclusive taxes; None: unknown rate."""
    discounts: list[Discount]
    details: Mapping[str, Any]
    """Traits that its price and its product tell."""


class Subscription(Names, total=False):
    """`subscription:ID`: all of it, as its source reported it at one instant."""

    status: Required[str]
    currency: str
    items: list[Item]
    more: bool
    """Whether there are more items than these."""
    mrr: str
    """The source's own number, if it has one: minor units a month."""
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
    """Whether it has one discount at a time, as before `discounts` existed."""
    tax: list[str | None]
    automatic_tax: bool
    extras: bool
    """Whether facts `extra:ID` may report things on it without a price."""
    details: Mapping[str, Any]
    """What optional traits in use need, by their names; None: told that there is none."""


class Part(TypedDict, total=False):
    """`part:ID:NAME`: one of PARTS; empty if that was cleared."""

    ends: int
    ended: int
    plan: str


class Named(TypedDict, total=False):
    """A price or product in the catalogue; its names alone can change."""

    name: str | None
    lookup: str | None
    """Left out: what told the rest does not tell it."""
    created: int
    deleted: bool
    details: Mapping[str, Any]
    """Traits that it tells."""


_Is = TypedDict("_Is", {"is": str | int | float | bool | None}, total=False)


class Trait(_Is, Names, total=False):
    """`trait:NAME`: a trait that the source sets directly; None clears it."""

    bad: str
    """In place of the value: the kind that it should have and has not."""


class InvoiceStep(TypedDict, total=False):
    """PAYMENTS: a *step* of one invoice; the fold keeps all steps of all invoices.

    `open` (after a try), DUE (perhaps none was made), `failed` (a try in vain), UNREAD;
    `paid` and any other word settle it. *amount*: what was paid by then, in money.
    *retry*: when the next try is due.
    """

    id: Required[str]
    step: Required[str]
    at: Required[int]
    retry: int
    currency: str
    amount: str


class Grant(Dated, total=False):
    """A credit grant, and what is *left* of it, in minor units."""

    left: Required[str]
    currency: Required[str]


class Billing(TypedDict, total=False):
    """BILLING, and the things whose names begin so; *status* `read`: with all invoices.

    Of a customer the *balance* (above 0 it is owed, below 0 it is credit, as at Stripe) and
    the default *method* of payment ("": unread), which a subscription may have too; of a
    method when it *expires*, if it does, or the *status* UNREAD. Of GRANTS all *grants*;
    left out: an event changed them.
    """

    balance: str
    currency: str
    method: str
    expires: int
    status: str
    grants: list[Grant]


class Extra(TypedDict):
    """`extra:ID`."""

    told: bool


class Notice(TypedDict, total=False):
    """TO_REFRESH: something changed, and the event does not say what."""

    event: str
    twice: bool


class Refreshed(TypedDict, total=False):
    """REFRESHED: what the source's API returned and no event contains."""

    thin: int
    """The newest notice that it answers (ms)."""
    tiers: Mapping[str, Tiers]
    """By price, or by `priced_as`."""
    names: Mapping[str, str]
    """By product."""
    details: Mapping[str, Mapping[str, Any]]
    """By product: traits that it tells."""
    discounts: Mapping[str, Discount]
    """By id."""


class Tiers(TypedDict, total=False):
    """The part of a price that no event contains."""

    unit: str
    tiers: list[Tier]
    tiers_mode: str
    inclusive: bool


OfParty = Customer | Names | Subscription | Part | Discount | Trait
AnyValue = OfParty | InvoiceStep | Billing | Coupon | Named | Extra | Notice | Refreshed
"""The values that a source may put into a fact; mypy refuses any other dictionary."""
