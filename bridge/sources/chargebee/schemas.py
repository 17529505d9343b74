"""What is read of Chargebee's events, under both of its product catalogs.

Product Catalog 1 has one plan on the subscription and its `addons`, Product Catalog 2
has `subscription_items`: https://apidocs.chargebee.com/docs/api/subscriptions
"""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from bridge.webhook.fields import (
    LATEST,
    Currency,
    Id,
    Label,
    Minor,
    Payload,
    Text,
    UnixTime,
    Whole,
    Word,
)

STATUSES = {
    "future": "incomplete",
    "in_trial": "trialing",
    "active": "active",
    "non_renewing": "active",
    "paused": "paused",
    "cancelled": "canceled",
    "transferred": "canceled",
}
"""Chargebee's word -> ours; what begins in the future is not live yet, nor ended."""


class Resource(Payload):
    """A customer or subscription; *version* (ms) says which of two is the later one."""

    id = Id(required=True)
    version = Whole(0, LATEST * 1000, data_key="resource_version")
    deleted = fields.Boolean()


class Customer(Resource):
    """A customer: https://apidocs.chargebee.com/docs/api/customers."""

    company = Label()
    first_name = Label()
    last_name = Label()
    email = Label()


UNITS = ("day", "week", "month", "year")


class Item(Payload):
    """A subscription item, or an addon of Product Catalog 1; *amount* is its total.

    With multi-frequency billing it has a period of its own.
    https://www.chargebee.com/docs/billing/2.0/subscriptions/multi-frequency-billing
    """

    item_price_id = Id()
    item_type = Text()
    quantity = Whole()
    free_quantity = Whole()
    unit_price = Minor()
    amount = Minor()
    metered_quantity = fields.Raw()
    billing_period = Whole(1, 2**31)
    billing_period_unit = Word(*UNITS)
    next_billing_at = UnixTime()
    current_term_end = UnixTime()
    trial_end = UnixTime()


class Coupon(Payload):
    """A coupon, or a discount of the subscription's own; its terms are not told."""

    coupon_id = Id()
    id = Id()


class Contract(Payload):
    """A contract term, over several billing periods.

    https://apidocs.chargebee.com/docs/api/contract_terms
    """

    status = Text()
    contract_end = UnixTime()
    action_at_term_end = Text()


class Subscription(Resource):
    """A subscription; amounts are in minor units of its currency."""

    customer_id = Id(required=True)
    status = Word(*STATUSES, required=True)
    currency_code = Currency()
    mrr = Minor()
    billing_period = Whole(1, 2**31)
    billing_period_unit = Word(*UNITS)
    plan_id = Id()
    plan_quantity = Whole()
    plan_free_quantity = Whole()
    plan_unit_price = Minor()
    plan_amount = Minor()
    addons = fields.List(fields.Nested(Item))
    subscription_items = fields.List(fields.Nested(Item))
    coupons = fields.List(fields.Nested(Coupon))
    discounts = fields.List(fields.Nested(Coupon))
    contract_term = fields.Nested(Contract)
    next_billing_at = UnixTime()
    current_term_end = UnixTime()
    trial_end = UnixTime()
    pause_date = UnixTime()
    cancelled_at = UnixTime()


def _event(**resources: fields.Field[Any]) -> Schema:
    content = fields.Nested(Payload.from_dict(resources, name="Content"), required=True)
    return Payload.from_dict({"content": content}, name="Event")()


CUSTOMER_EVENT = _event(customer=fields.Nested(Customer, required=True))
SUBSCRIPTION_EVENT = _event(
    subscription=fields.Nested(Subscription, required=True),
    customer=fields.Nested(Customer),
)
