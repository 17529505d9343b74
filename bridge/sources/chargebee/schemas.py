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
    Text,
    UnixTime,
    Whole,
    Word,
)
from bridge.webhook.schemas import Payload

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
    version = Whole(0, LATEST * 1000, load_default=None, data_key="resource_version")
    deleted = fields.Boolean(load_default=None)


class Customer(Resource):
    """A customer: https://apidocs.chargebee.com/docs/api/customers."""

    company = Label(load_default=None)
    first_name = Label(load_default=None)
    last_name = Label(load_default=None)
    email = Label(load_default=None)


UNITS = ("day", "week", "month", "year")


class Item(Payload):
    """A subscription item, or an addon of Product Catalog 1; *amount* is its total.

    With multi-frequency billing it has a period of its own.
    https://www.chargebee.com/docs/billing/2.0/subscriptions/multi-frequency-billing
    """

    item_price_id = Id(load_default=None)
    item_type = Text(load_default=None)
    quantity = Whole(load_default=None)
    free_quantity = Whole(load_default=None)
    unit_price = Minor(load_default=None)
    amount = Minor(load_default=None)
    metered_quantity = fields.Raw(load_default=None)
    billing_period = Whole(1, 2**31, load_default=None)
    billing_period_unit = Word(*UNITS, load_default=None)
    next_billing_at = UnixTime(load_default=None)
    current_term_end = UnixTime(load_default=None)
    trial_end = UnixTime(load_default=None)


class Coupon(Payload):
    """A coupon, or a discount of the subscription's own; its terms are not told."""

    coupon_id = Id(load_default=None)
    id = Id(load_default=None)


class Contract(Payload):
    """A contract term, over several billing periods.

    https://apidocs.chargebee.com/docs/api/contract_terms
    """

    status = Text(load_default=None)
    contract_end = UnixTime(load_default=None)
    action_at_term_end = Text(load_default=None)


class Subscription(Resource):
    """A subscription; amounts are in minor units of its currency."""

    customer_id = Id(required=True)
    status = Word(*STATUSES, required=True)
    currency_code = Currency(load_default=None)
    mrr = Minor(load_default=None)
    billing_period = Whole(1, 2**31, load_default=None)
    billing_period_unit = Word(*UNITS, load_default=None)
    plan_id = Id(load_default=None)
    plan_quantity = Whole(load_default=None)
    plan_free_quantity = Whole(load_default=None)
    plan_unit_price = Minor(load_default=None)
    plan_amount = Minor(load_default=None)
    addons = fields.List(fields.Nested(Item), load_default=None)
    subscription_items = fields.List(fields.Nested(Item), load_default=None)
    coupons = fields.List(fields.Nested(Coupon), load_default=None)
    discounts = fields.List(fields.Nested(Coupon), load_default=None)
    contract_term = fields.Nested(Contract, load_default=None)
    next_billing_at = UnixTime(load_default=None)
    current_term_end = UnixTime(load_default=None)
    trial_end = UnixTime(load_default=None)
    pause_date = UnixTime(load_default=None)
    cancelled_at = UnixTime(load_default=None)


def _event(**resources: fields.Field[Any]) -> Schema:
    content = fields.Nested(Payload.from_dict(resources, name="Content"), required=True)
    return Payload.from_dict({"content": content}, name="Event")()


CUSTOMER_EVENT = _event(customer=fields.Nested(Customer, required=True))
SUBSCRIPTION_EVENT = _event(
    subscription=fields.Nested(Subscription, required=True),
    customer=fields.Nested(Customer, load_default=None),
)
