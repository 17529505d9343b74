"""What Stripe sends, at its full size: a subscription that renews, signed.

Written after https://docs.stripe.com/api/subscriptions/object; the values are made up.
"""

from __future__ import annotations

from typing import Any

import orjson

from bridge.webhook.auth import STRIPE, sign
from tests.support.stripe import BORN, MONTH, SECRET

PATH = "/webhooks/stripe"

SENT = {
    "Host": "bridge.example",
    "Accept": "*/*; q=0.5, application/xml",
    "Cache-Control": "no-cache",
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
}


def request(event: dict[str, Any], now: float) -> bytes:
    """Return the whole HTTP request that delivers *event*, signed at *now* (seconds)."""
    body = orjson.dumps(event, option=orjson.OPT_INDENT_2)
    headers = sign(STRIPE, SECRET, body, now, headers=SENT)
    lines = [f"POST {PATH} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def customer_id(number: int) -> str:
    """Return an id; all ids here are as long as Stripe's own."""
    return f"cus_Q{number:013}"


def renewal(customer: str, number: int, of: int = 1) -> dict[str, Any]:
    """Return `customer.subscription.updated` of about 4 KB: renewal *number*."""
    begins = BORN + number * MONTH
    before = {
        "current_period_end": begins,
        "current_period_start": begins - MONTH,
        "latest_invoice": "in_1Q0example00000000before",
    }
    shown = _subscription(customer, begins, of)
    told = _event(customer, 10 * number + of, "subscription.updated", shown)
    told["created"] = begins + 3600
    told["data"]["previous_attributes"] = before
    return told


def beginning(customer: str, of: int) -> dict[str, Any]:
    """Return `customer.subscription.created` of the same size."""
    return _event(
        customer, of, "subscription.created", _subscription(customer, BORN, of)
    )


def sign_up(customer: str) -> dict[str, Any]:
    """Return `customer.created`."""
    shown = {
        "id": customer,
        "object": "customer",
        "created": BORN,
        "currency": "usd",
        "delinquent": False,
        "email": f"billing@{customer[5:]}.example",
        "livemode": False,
        "metadata": {},
        "name": f"Example Company {customer[-4:]} Ltd",
    }
    return _event(customer, 0, "created", shown)


def _event(
    customer: str, number: int, what: str, shown: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": f"evt_1{customer[4:]}{number:09}",
        "object": "event",
        "api_version": "2024-06-20",
        "created": BORN,
        "data": {"object": shown},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": f"customer.{what}",
    }


def _subscription(customer: str, begins: int, of: int) -> dict[str, Any]:
    id_ = f"sub_1{customer[4:]}{of:09}"
    item = {
        "id": f"si_{customer[4:]}",
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": BORN,
        "discounts": [],
        "metadata": {},
        "plan": _plan(),
        "price": _price(),
        "quantity": 12,
        "subscription": id_,
        "tax_rates": [],
    }
    nothing = dict.fromkeys(
        (
            "application",
            "application_fee_percent",
            "billing_cycle_anchor_config",
            "billing_thresholds",
            "cancel_at",
            "canceled_at",
            "days_until_due",
            "default_source",
            "description",
            "discount",
            "ended_at",
            "next_pending_invoice_item_invoice",
            "on_behalf_of",
            "pause_collection",
            "pending_invoice_item_interval",
            "pending_setup_intent",
            "pending_update",
            "schedule",
            "test_clock",
            "transfer_data",
            "trial_end",
            "trial_start",
        )
    )
    return {
        "id": id_,
        "object": "subscription",
        **nothing,
        "automatic_tax": {"enabled": False, "liability": None},
        "billing_cycle_anchor": BORN,
        "cancel_at_period_end": False,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": BORN,
        "currency": "usd",
        "current_period_end": begins + MONTH,
        "current_period_start": begins,
        "customer": customer,
        "default_payment_method": "pm_1Q0example0000000000card",
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": {
            "object": "list",
            "data": [item],
            "has_more": False,
            "total_count": 1,
            "url": f"/v1/subscription_items?subscription={id_}",
        },
        "latest_invoice": "in_1Q0example000000000after",
        "livemode": False,
        "metadata": {"workspace": "w_4711", "sales_rep": "example"},
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "quantity": 12,
        "start_date": BORN,
        "status": "active",
        "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
    }


def _plan() -> dict[str, Any]:
    """The older name of the price; events of this version show both."""
    return {
        "id": "price_1Q0example0000000000team",
        "object": "plan",
        "active": True,
        "aggregate_usage": None,
        "amount": 1500,
        "amount_decimal": "1500",
        "billing_scheme": "per_unit",
        "created": BORN,
        "currency": "usd",
        "interval": "month",
        "interval_count": 1,
        "livemode": False,
        "metadata": {},
        "meter": None,
        "nickname": "Team",
        "product": "prod_Q0example0teams",
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def _price() -> dict[str, Any]:
    return {
        "id": "price_1Q0example0000000000team",
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": BORN,
        "currency": "usd",
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": "Team",
        "product": "prod_Q0example0teams",
        "recurring": {
            "aggregate_usage": None,
            "interval": "month",
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": 1500,
        "unit_amount_decimal": "1500",
    }
