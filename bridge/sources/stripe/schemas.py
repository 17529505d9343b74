"""What is read of Stripe's events, in every rendering.

One schema serves all API versions: periods on the subscription (before 2025-03-31) and
on its items, `price` and the older `plan` in its place, discounts as objects and as
bare ids. Nothing but `id` and `status` is required of an object, since versions differ.
"""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from bridge.webhook.fields import (
    Currency,
    Id,
    Label,
    Minor,
    Percent,
    Reference,
    Text,
    UnixTime,
    Whole,
    Word,
)
from bridge.webhook.schemas import Payload

STATUSES = (
    "active",
    "canceled",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "paused",
    "trialing",
    "unpaid",
)
"""https://docs.stripe.com/api/subscriptions/object#subscription_object-status"""


class AppliesTo(Payload):
    """The products to which a coupon is limited."""

    products = fields.List(Id(), load_default=None)


class Coupon(Payload):
    """The terms of a discount; only the id where Stripe does not expand it."""

    id = Id(required=True)
    percent_off = Percent(load_default=None)
    amount_off = Minor(load_default=None)
    currency = Currency(load_default=None)
    duration = Word("forever", "once", "repeating", load_default=None)
    applies_to = fields.Nested(AppliesTo, load_default=None)
    created = UnixTime(load_default=None)


class DiscountOrigin(Payload):
    """Where the coupon stands since 2025-09-30: `source.coupon`."""

    coupon = Reference(Coupon, load_default=None)


class Discount(Payload):
    """A coupon at work; before 2017 it had no id of its own."""

    id = Id(load_default=None)
    coupon = Reference(Coupon, load_default=None)
    source = fields.Nested(DiscountOrigin, load_default=None)
    start = UnixTime(load_default=None)
    end = UnixTime(load_default=None)
    customer = Id(load_default=None)
    customer_account = Id(load_default=None)
    subscription = Id(load_default=None)
    subscription_item = Id(load_default=None)


class Product(Payload):
    """A product; only the id where Stripe does not expand it."""

    id = Id(required=True)
    name = Label(load_default=None)
    created = UnixTime(load_default=None)


class Recurring(Payload):
    """How often a price is charged."""

    interval = Word("day", "week", "month", "year", load_default=None)
    interval_count = Whole(1, 2**31, load_default=None)
    usage_type = Word("licensed", "metered", load_default=None)


class Top(Whole):
    """Where a tier ends; None: nowhere, which Stripe writes `inf` where it is set."""

    def read(self, value: Any) -> Any:
        return None if value == "inf" else super().read(value)


class Tier(Payload):
    """One step of a tiered price, in minor units; until 2018-08-23 it had *amount*."""

    up_to = Top(load_default=None)
    unit_amount_decimal = Minor(load_default=None)
    unit_amount = Minor(load_default=None)
    amount_decimal = Minor(load_default=None)
    amount = Minor(load_default=None)
    flat_amount_decimal = Minor(load_default=None)
    flat_amount = Minor(load_default=None)


class Package(Payload):
    """Units are sold in packages of *divide_by*."""

    divide_by = Whole(1, load_default=None)
    round = Word("up", "down", load_default=None)


class Price(Recurring):
    """A price, or the older plan, whose interval stands on itself (Recurring)."""

    id = Id(required=True)
    product = Reference(Product, load_default=None)
    nickname = Label(load_default=None)
    name = Label(load_default=None)
    lookup_key = Label(load_default=None)
    currency = Currency(load_default=None)
    unit_amount_decimal = Minor(load_default=None)
    unit_amount = Minor(load_default=None)
    amount_decimal = Minor(load_default=None)
    amount = Minor(load_default=None)
    type = Word("one_time", "recurring", load_default=None)
    recurring = fields.Nested(Recurring, load_default=None)
    billing_scheme = Word("per_unit", "tiered", load_default=None)
    tiers_mode = Word("graduated", "volume", load_default=None)
    tiers = fields.List(fields.Nested(Tier), load_default=None)
    transform_quantity = fields.Nested(Package, load_default=None)
    transform_usage = fields.Nested(Package, load_default=None)
    tax_behavior = Word("exclusive", "inclusive", "unspecified", load_default=None)
    created = UnixTime(load_default=None)


class TaxRate(Payload):
    """A rate in percent; only an inclusive one is part of a price."""

    percentage = Percent(most=1000, load_default=None)
    inclusive = fields.Boolean(load_default=None)


class Item(Payload):
    """One line of a subscription; *plan* is judged only where there is no price."""

    price = Reference(Price, load_default=None)
    plan = fields.Raw(load_default=None)
    quantity = Whole(load_default=None)
    current_period_end = UnixTime(load_default=None)
    tax_rates = fields.List(fields.Nested(TaxRate), load_default=None)
    discounts = fields.List(Reference(Discount), load_default=None)


class Items(Payload):
    """The first page of a subscription's items."""

    data = fields.List(fields.Nested(Item), required=True)
    has_more = fields.Boolean(load_default=None)


class AutomaticTax(Payload):
    """Stripe Tax, which computes rates that no event shows."""

    enabled = fields.Boolean(load_default=None)


class Discounted(Payload):
    """What customers and subscriptions have in common."""

    id = Id(required=True)
    metadata = fields.Dict(load_default=None)
    discount = Reference(Discount, load_default=None)
    discounts = fields.List(Reference(Discount), load_default=None)


class Customer(Discounted):
    """https://docs.stripe.com/api/customers/object"""  # noqa: D400 - a link

    name = Label(load_default=None)
    email = Label(load_default=None)


class Subscription(Discounted):
    """A subscription; top-level *plan* and *quantity* serve where it has no items.

    https://docs.stripe.com/api/subscriptions/object
    """

    customer = Id(load_default=None)
    customer_account = Id(load_default=None)
    status = Word(*STATUSES, required=True)
    currency = Currency(load_default=None)
    items = fields.Nested(Items, load_default=None)
    plan = fields.Raw(load_default=None)
    quantity = Whole(load_default=None)
    current_period_end = UnixTime(load_default=None)
    trial_end = UnixTime(load_default=None)
    ended_at = UnixTime(load_default=None)
    cancel_at = UnixTime(load_default=None)
    cancel_at_period_end = fields.Boolean(load_default=None)
    pause_collection = fields.Raw(load_default=None)
    default_tax_rates = fields.List(fields.Nested(TaxRate), load_default=None)
    automatic_tax = fields.Nested(AutomaticTax, load_default=None)


class Checkout(Payload):
    """https://docs.stripe.com/api/checkout/sessions/object"""  # noqa: D400 - a link

    id = Id(required=True)
    customer = Id(load_default=None)
    customer_account = Id(load_default=None)
    subscription = Id(load_default=None)
    client_reference_id = Text(load_default=None)
    metadata = fields.Dict(load_default=None)


class Related(Payload):
    """The object that a thin event is about: only its type and id."""

    id = Id(required=True)
    type = Text(required=True)


class Thin(Payload):
    """An event that tells only what changed: https://docs.stripe.com/api/v2/events."""

    related_object = fields.Nested(Related, required=True)


def _event(schema: type[Payload]) -> Schema:
    """The schema of an event about an object; what it replaced is given on `updated`."""
    parts: dict[str, fields.Field[Any]] = {
        "object": fields.Nested(schema, required=True),
        "previous_attributes": fields.Dict(load_default=None),
    }
    data = fields.Nested(Payload.from_dict(parts, name="Data"), required=True)
    return Payload.from_dict({"data": data}, name="Event")()


PRICE = Price()
ITEM = Item()
CUSTOMER = Customer()
SUBSCRIPTION = Subscription()
CUSTOMER_EVENT = _event(Customer)
SUBSCRIPTION_EVENT = _event(Subscription)
DISCOUNT_EVENT = _event(Discount)
COUPON_EVENT = _event(Coupon)
PRICE_EVENT = _event(Price)
PRODUCT_EVENT = _event(Product)
CHECKOUT_EVENT = _event(Checkout)
THIN_EVENT = Thin()
