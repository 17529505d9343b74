"""What is read of Stripe's events, in every rendering.

One schema covers all API versions: periods on the subscription (before 2025-03-31) or on
its items, `price` or the older `plan`, discounts as objects or as bare ids. Only `id` and
`status` of an object are required, because versions differ.
"""

from __future__ import annotations

from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields

from bridge.domain.money import INTERVALS
from bridge.domain.traits import STRONGEST
from bridge.webhook.fields import (
    Currency,
    Id,
    Label,
    Minor,
    Payload,
    Percent,
    Reference,
    Text,
    UnixTime,
    Whole,
    Word,
)


def part(*, required: bool = False, **parts: fields.Field[Any]) -> fields.Nested:
    """A nested object without a schema class of its own."""
    return fields.Nested(Payload.from_dict(parts), required=required)


class Coupon(Payload):
    """The terms of a discount; only the id if Stripe does not expand it."""

    id = Id(required=True)
    percent_off = percent_off_precise = Percent()
    """Until 2018-07-27 the first one is rounded to a whole number."""
    amount_off = Minor()
    currency = Currency()
    duration = Word("forever", "once", "repeating")
    applies_to = part(products=fields.List(Id()))
    created = UnixTime()


class Discount(Payload):
    """A coupon applied to something; before 2017 it had no id of its own."""

    coupon = Reference(Coupon)
    source = part(coupon=Reference(Coupon))
    """Contains the coupon since 2025-09-30."""
    start = end = UnixTime()
    id = customer = customer_account = subscription = subscription_item = Id()
    checkout_session = invoice = invoice_item = fields.Raw()
    """Set if it is taken off one payment alone."""


class Product(Payload):
    """A product; only the id if Stripe does not expand it."""

    id = Id(required=True)
    name = Label()
    created = UnixTime()
    metadata = fields.Raw()


class Top(Whole):
    """Where a tier ends; None: nowhere, which Stripe writes `inf` where it is set."""

    def read(self, value: Any) -> Any:
        return None if value == "inf" else super().read(value)


class Amount(Payload):
    """What one unit costs, in minor units; until 2018-08-23 a tier had *amount*."""

    unit_amount_decimal = unit_amount = amount_decimal = amount = Minor()
    tax_behavior = Word("exclusive", "inclusive", "unspecified")


class Tier(Amount):
    """One step of a tiered price."""

    up_to = Top()
    flat_amount_decimal = flat_amount = Minor()


class Recurring(Payload):
    """How often a price is charged."""

    interval = Word(*INTERVALS)
    interval_count = Whole(1, 2**31)
    usage_type = Word("licensed", "metered")


class Price(Recurring, Amount):
    """A price, or the older plan, which has the fields of Recurring itself."""

    id = Id(required=True)
    product = Reference(Product)
    nickname = name = lookup_key = Label()
    currency = Currency()
    currency_options = fields.Dict(values=fields.Nested(Amount))
    """By currency, where that is asked for; not its tiers."""
    type = Word("one_time", "recurring")
    recurring = fields.Nested(Recurring)
    billing_scheme = Word("per_unit", "tiered")
    tiers_mode = Word("graduated", "volume")
    tiers = fields.List(fields.Nested(Tier))
    transform_quantity = transform_usage = part(
        divide_by=Whole(1), round=Word("up", "down")
    )
    created = UnixTime()
    metadata = fields.Raw()


TAX_RATES = fields.List(part(percentage=Percent(most=1000), inclusive=fields.Boolean()))
"""Rates in percent; only an inclusive one is part of a price."""


class Item(Payload):
    """One line of a subscription; *plan* is validated only if there is no price."""

    id = Label()
    price = Reference(Price)
    plan = fields.Raw()
    quantity = Whole()
    current_period_end = UnixTime()
    tax_rates = TAX_RATES
    discounts = fields.List(Reference(Discount))


class Discounted(Payload):
    """What customers and subscriptions have in common."""

    id = Id(required=True)
    metadata = fields.Dict()
    discount = Reference(Discount)
    discounts = fields.List(Reference(Discount))


class Customer(Discounted):
    """https://docs.stripe.com/api/customers/object"""  # noqa: D400 - a link

    name = email = Label()


class Billing(Payload):
    """What a customer, or a subscription, has and pays with.

    Until 2019-10-17 the balance was the `account_balance`, until 2015-02-18 the source the
    `default_card`. What is damaged becomes "": it must not stop the rest.
    """

    def load(self, data: Any, **options: Any) -> Any:
        """Return what `Payload.load` returns, with "" for each field that is refused."""
        try:
            return super().load(data, **options)
        except ValidationError as error:
            odd = dict.fromkeys(error.messages_dict, "")
        return super().load({**data, **dict.fromkeys(odd)}) | odd

    balance, currency, account_balance = Minor(), Currency(), Minor()
    invoice_settings = part(default_payment_method=Id())
    default_payment_method = default_source = default_card = Id()


class Subscription(Discounted):
    """A subscription; top-level *plan* and *quantity* are used if it has no items.

    https://docs.stripe.com/api/subscriptions/object
    """

    customer = customer_account = Id()
    status = Word(*STRONGEST, "canceled", "incomplete_expired", required=True)
    currency = Currency()
    items = part(
        data=fields.List(fields.Nested(Item), required=True), has_more=fields.Boolean()
    )
    plan = pause_collection = fields.Raw()
    quantity = Whole()
    current_period_end = trial_end = ended_at = cancel_at = UnixTime()
    cancel_at_period_end = fields.Boolean()
    default_tax_rates = TAX_RATES
    automatic_tax = part(enabled=fields.Boolean())
    """Stripe Tax, which computes rates that no event contains."""
    start_date = created = collection_method = billing = fields.Raw()
    cancellation_details = schedule = fields.Raw()
    """For optional traits; a mistake in one of them must not stop the rest."""


class Phase(Payload):
    """A phase of a schedule."""

    start_date = end_date = trial_end = UnixTime()
    items = fields.List(fields.Nested(Item))
    discounts = fields.List(Reference(Discount))
    default_tax_rates = TAX_RATES


class Schedule(Payload):
    """https://docs.stripe.com/api/subscription_schedules/object"""  # noqa: D400 - a link

    id = Id(required=True)
    status = end_behavior = Text()
    current_phase = part(start_date=UnixTime())
    phases = fields.List(fields.Nested(Phase))


class Owned(Payload):
    """Whose something is; a transaction of credit tells only of which grant it is."""

    customer = customer_account = credit_grant = Id()


class Checkout(Payload):
    """https://docs.stripe.com/api/checkout/sessions/object"""  # noqa: D400 - a link

    id = Id(required=True)
    customer = customer_account = Id()
    client_reference_id = Text()
    metadata = fields.Dict()


class Invoice(Payload):
    """https://docs.stripe.com/api/invoices/object"""  # noqa: D400 - a link

    id, customer, customer_account = Id(required=True), Id(), Id()
    status = Word("draft", "open", "paid", "uncollectible", "void")
    paid = fields.Boolean()
    """In place of the status before 2018-11-08."""
    currency, amount_paid = Currency(required=True), Minor(required=True)
    attempt_count, next_payment_attempt = Whole(), UnixTime()
    status_transitions = part(paid_at=UnixTime())


class Money(Payload):
    """So many minor units of a currency."""

    currency, value = Currency(required=True), Minor(required=True)


class Method(Payload):
    """A payment method, or an older source, which may be a card itself."""

    id, customer = Id(required=True), Id()
    exp_year, exp_month = Whole(1970, 9998), Whole(1, 12)
    card = part(exp_year=exp_year, exp_month=exp_month)


AVAILABLE = part(monetary=fields.Nested(Money, required=True), required=True)


class Grant(Payload):
    """https://docs.stripe.com/api/billing/credit-grant/object"""  # noqa: D400 - a link

    amount = part(monetary=fields.Nested(Money), required=True)
    effective_at = expires_at = voided_at = UnixTime()


class Left(Payload):
    """https://docs.stripe.com/api/billing/credit-balance-summary/object"""  # noqa: D400 - a link

    balances = fields.List(part(available_balance=AVAILABLE), required=True)


class Thin(Payload):
    """An event that says only which object changed: https://docs.stripe.com/api/v2/events."""

    related_object = part(id=Id(required=True), type=Text(required=True), required=True)


LISTED = Payload.from_dict({"id": Text(required=True)})
"""What all objects of a list have."""


class Page(Payload):
    """A page of a list of the API, its objects whole."""

    data = fields.List(fields.Nested(LISTED, unknown=INCLUDE), required=True)
    has_more = fields.Boolean()


def event_of(schema: type[Payload]) -> Schema:
    """The schema of an event with an object and its previous attributes."""
    shown = fields.Nested(schema, required=True)
    data = part(object=shown, previous_attributes=fields.Dict(), required=True)
    return Payload.from_dict({"data": data})()


CUSTOMER, SUBSCRIPTION, PAGE = Customer(), Subscription(), Page()
SCHEDULE, HAPPENED = Schedule(), Payload.from_dict({"created": Whole(required=True)})()
"""A schedule; when an event of a list was made, in seconds."""
ITEM, PRICE = Item(), Price()
INVOICE, METHOD, BILLING = Invoice(), Method(), Billing()
OWNED, GRANT, LEFT = Owned(), Grant(), Left()
