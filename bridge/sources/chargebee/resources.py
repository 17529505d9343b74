"""What is read of Chargebee's customers and subscriptions, and the values made of it.

In Product Catalog 1 a subscription has one plan and `addons`; in Product Catalog 2 it
has `subscription_items`: https://apidocs.chargebee.com/docs/api/subscriptions
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from marshmallow import Schema, fields

from bridge.domain import values
from bridge.domain.forecast import wanted
from bridge.domain.money import INTERVALS
from bridge.webhook.fields import (
    LATEST,
    UNREAD,
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
from bridge.webhook.values import kept

STATUSES = {
    "future": "incomplete",
    "in_trial": "trialing",
    "active": "active",
    "non_renewing": "active",
    "paused": "paused",
    "cancelled": "canceled",
    "transferred": "canceled",
}
"""Chargebee's status -> ours; a future subscription is neither live nor ended."""

SETTLED = {"paid": "paid", "voided": "void", "pending": None}
"""Status of an invoice that is not due, or not yet -> our step."""

OVERDUE = frozenset({"payment_due", "not_paid"})
"""Statuses of an invoice that ought to be paid by now."""

COLLECTS = {"on": "charge_automatically", "off": "send_invoice"}
"""Chargebee's `auto_collection` -> Stripe's word."""

# --- What is read ---------------------------------------------------------------


class Resource(Payload):
    """A customer or subscription; the one with the higher *version* (ms) is later."""

    id = Id(required=True)
    version = Whole(0, LATEST * 1000, data_key="resource_version")
    deleted = fields.Boolean()


class Customer(Resource):
    """A customer: https://apidocs.chargebee.com/docs/api/customers."""

    company = first_name = last_name = email = Label()


class Period(Payload):
    """How often something is paid, and until when it is paid."""

    billing_period = Whole(1, 2**31)
    billing_period_unit = Word(*INTERVALS)
    next_billing_at = current_term_end = trial_end = UnixTime()


class Item(Period):
    """A subscription item, or an addon of Product Catalog 1; *amount* is its total.

    With multi-frequency billing it has its own period.
    https://www.chargebee.com/docs/billing/2.0/subscriptions/multi-frequency-billing
    """

    item_price_id, item_type = Id(), Text()
    quantity = free_quantity = Whole()
    unit_price = amount = Minor()
    metered_quantity = fields.Raw()


class Coupon(Payload):
    """A coupon, or a discount of the subscription itself; no event contains its terms."""

    coupon_id = id = Id()


class Contract(Payload):
    """A contract term: https://apidocs.chargebee.com/docs/api/contract_terms."""

    status = action_at_term_end = Text()
    contract_end = UnixTime()


class Subscription(Resource, Period):
    """A subscription; amounts are in minor units of its currency."""

    customer_id = Id(required=True)
    status = Word(*STATUSES, required=True)
    currency_code = Currency()
    plan_id = Id()
    plan_quantity = plan_free_quantity = Whole()
    mrr = plan_unit_price = plan_amount = Minor()
    addons = subscription_items = fields.List(fields.Nested(Item))
    coupons = discounts = fields.List(fields.Nested(Coupon))
    contract_term = fields.Nested(Contract)
    pause_date = cancelled_at = UnixTime()
    started_at = auto_collection = has_scheduled_changes = fields.Raw()
    cancel_reason = cancel_reason_code = fields.Raw()


class Invoice(Resource):
    """An invoice: https://apidocs.chargebee.com/docs/api/invoices."""

    customer_id, currency_code = Id(required=True), Currency(required=True)
    status, amount_paid = Text(required=True), Minor(required=True)
    paid_at = next_retry_at = UnixTime()


def _event(**resources: fields.Field[Any]) -> Schema:
    content = fields.Nested(Payload.from_dict(resources, name="Content"), required=True)
    return Payload.from_dict({"content": content}, name="Event")()


CUSTOMER_EVENT = _event(customer=fields.Nested(Customer, required=True))
SUBSCRIPTION_EVENT = _event(
    subscription=fields.Nested(Subscription, required=True),
    customer=fields.Nested(Customer),
)
INVOICE_EVENT = _event(invoice=fields.Nested(Invoice))

# --- What it becomes ------------------------------------------------------------

Loaded = dict[str, Any]
"""A resource as one of the schemas above loads it."""


def customer(shown: Loaded, account: str) -> values.Customer:
    """Value of thing `customer`: a company, or a person."""
    person = " ".join(filter(None, (shown["first_name"], shown["last_name"])))
    value: values.Customer = {
        "account": account,
        "name": shown["company"] or person,
        "email": shown["email"],
        "deleted": shown["deleted"],
    }
    return kept(value)


def subscription(
    shown: Loaded, account: str, use: Collection[str] = (), *, recounted: bool
) -> values.Subscription:
    """Value of thing `subscription:…` as it was at its version.

    *use*: the optional traits whose details are kept.

    *recounted*: Chargebee has just computed its MRR. It does so after the event; until
    then the MRR may be 0 despite a price, and the items are more reliable.
    """
    at, ends, pause = shown["version"], _ends(shown), shown["pause_date"]
    value: values.Subscription = {
        "account": account,
        "status": "canceled" if shown["deleted"] else STATUSES[shown["status"]],
        "currency": shown["currency_code"],
        "ends": ends,
        "trial_end": shown["trial_end"],
    }
    if value["status"] == "canceled":
        value["ended_at"] = min(shown["cancelled_at"] or at, at)
    else:
        value["cancel_at"] = _stops(shown, ends)
        # Nothing is billed during a pause that begins before the renewal.
        value["no_renewal"] = bool(pause and ends and at < pause <= ends)
    mrr, items = shown["mrr"], [_item(row, shown) for row in _rows(shown)]
    reductions = [*(shown["coupons"] or ()), *(shown["discounts"] or ())]
    coupons = [{"id": one["coupon_id"] or one["id"]} for one in reductions]
    # Without any item the price is unknown, not zero.
    priced: Any = {"items": items or [{}], "discounts": coupons}
    if mrr is not None and (recounted or mrr != "0"):
        value["mrr"] = mrr
        names = (item["name"] or "" for item in items if "name" in item)
        value["plan"] = ", ".join(names)
    else:
        value |= priced
    if use:
        more = [("priced", priced)] if value["status"] == "trialing" else []
        value["details"] = wanted([*_details(shown), *more], use)
    return kept(value)


def invoice(shown: Loaded, at: int, *, failed: bool) -> values.InvoiceStep | None:
    """The step that an invoice has taken, as told *at* (ms); None: none that matters.

    *failed*: an attempt to collect it has just failed; without a next try it stays due.
    """
    amount = "0" if shown["deleted"] else shown["amount_paid"]
    due = values.DUE if shown["status"] in OVERDUE or amount != "0" else None
    tried = "failed" if failed else "open" if shown["next_retry_at"] else due
    step = "void" if shown["deleted"] else SETTLED.get(shown["status"], tried)
    if step == "paid":
        at = shown["paid_at"] or at
    value: values.InvoiceStep = {"id": shown["id"], "step": step or "", "at": at}
    value |= {"currency": shown["currency_code"], "amount": amount}
    value["retry"] = shown["next_retry_at"]
    return kept(value) if step else None


def _stops(shown: Loaded, ends: Any) -> Any:
    """When a subscription that has not ended will end (ms): as scheduled, or with its contract."""
    stops, last, contract = shown["cancelled_at"] or 0, None, _contract(shown)
    if stops <= shown["version"]:
        stops = ends if shown["status"] == "non_renewing" else None
    if contract and contract["action_at_term_end"] == "cancel":
        last = contract["contract_end"]
    return min((end for end in (stops, last) if end is not None), default=None)


def _ends(shown: Loaded) -> Any:
    """When it renews (ms): with its contract, else its next bill, else its term.

    If items have their own dates, the earliest among those that are not usage.
    """
    if contract := _contract(shown):
        return contract["contract_end"]
    own = [
        _renews(item)
        for item in shown["subscription_items"] or ()
        if item["item_type"] != "charge" and item["metered_quantity"] is None
    ]
    return min((end for end in own if end is not None), default=_renews(shown))


def _contract(shown: Loaded) -> Any:
    """The active contract term, if its end is known."""
    contract = shown["contract_term"]
    holds = contract and contract["status"] == "active" and contract["contract_end"]
    return contract if holds else None


def _renews(shown: Loaded) -> Any:
    """The end of an item's or subscription's own period."""
    return shown["next_billing_at"] or shown["current_term_end"]


def _details(shown: Loaded) -> Iterator[tuple[str, Any]]:
    """What a subscription tells of optional traits; what is absent there is empty."""
    started = UnixTime().read(shown["started_at"])
    if started is not UNREAD:
        yield "startedAt", started
    reason = shown["cancel_reason_code"] or shown["cancel_reason"]
    yield "cancelReason", Label().read(reason)
    if method := COLLECTS.get(str(shown["auto_collection"])):
        yield "collectionMethod", method
    if (changes := shown["has_scheduled_changes"]) is not None:
        text = "its scheduled changes are in no event"
        yield "schedule", {"unread": text} if changes else {}
    pairs = ((_item(row, shown), row["quantity"]) for row in _rows(shown))
    yield "items", [kept({**item, "quantity": count}) for item, count in pairs]


def _rows(shown: Loaded) -> Iterator[Loaded]:
    """Recurring items, including the plan of Product Catalog 1."""
    listed = shown["subscription_items"] or ()
    if shown["plan_id"] or not listed:
        names = ("quantity", "free_quantity", "unit_price", "amount")
        plan = {name: shown[f"plan_{name}"] for name in names}
        plan |= {"item_type": "plan", "item_price_id": shown["plan_id"]}
        yield {**dict.fromkeys(Item().fields), **plan}
    yield from shown["addons"] or ()
    yield from (item for item in listed if item["item_type"] != "charge")


def _item(item: Loaded, shown: Loaded) -> values.Item:
    """One item of a subscription; its price after a trial of its own is not known.

    https://apidocs.chargebee.com/docs/api/subscriptions: `amount` is the result
    of price, quantity, free quantity and tiers.
    """
    is_plan = item["item_type"] == "plan"
    value: values.Item = {"name": item["item_price_id"] if is_plan else None}
    if not _contract(shown):
        value["ends"] = _renews(item)
    if item["metered_quantity"] is not None:
        value["usage"] = "metered"
    period = item if item["billing_period"] or item["billing_period_unit"] else shown
    # Half a period (an interval without a count, or the reverse) is unknown.
    if period["billing_period"] and period["billing_period_unit"]:
        value["interval"] = period["billing_period_unit"]
        value["count"] = period["billing_period"]
    if not is_plan and (item["trial_end"] or 0) > shown["version"]:
        return kept(value)
    if item["amount"] is not None:
        value["unit"] = item["amount"]
    elif item["quantity"] is not None:
        value["unit"] = item["unit_price"]
        quantity = max(0, item["quantity"] - (item["free_quantity"] or 0))
        if quantity != 1:
            value["quantity"] = quantity
    return kept(value)
