"""What Stripe's customers, subscriptions and events look like, in both renderings.

https://docs.stripe.com/api/events/object. Instants are whole seconds since the epoch
(UTC), amounts are minor units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from bridge.webhook.auth import STRIPE, sign


class Rendering(NamedTuple):
    """An API version; before 2025-03-31 periods stood on the subscription.

    https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-subscription-current-period-start-and-end
    """

    version: str
    periods_on_items: bool


ON_SUBSCRIPTION = Rendering("2024-06-20", periods_on_items=False)
ON_ITEMS = Rendering("2026-09-30.endive", periods_on_items=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """A price for one unit each *count* times *interval*; *unit* in minor units."""

    name: str
    unit: int
    currency: str = "usd"
    interval: str = "month"
    count: int = 1

    @property
    def id(self) -> str:
        """Id of the price."""
        return f"price_{self.name.lower().replace(' ', '_')}_{self.currency}"


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer; *metadata* may hold the account's id."""

    id: str
    name: str | None = None
    email: str | None = None
    created: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription of one *plan*; *ends* is the end of its current period."""

    id: str
    customer: str
    plan: Plan
    ends: int
    status: str = "active"
    quantity: int = 1
    trial_end: int | None = None
    cancel_at_period_end: bool = False
    cancel_at: int | None = None
    canceled_at: int | None = None
    ended_at: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice, which changes no trait."""

    id: str
    customer: str
    subscription: str


Thing = Customer | Subscription | Invoice


def rendered(thing: Thing, rendering: Rendering) -> dict[str, Any]:
    """Return *thing* as an event of that API version shows it."""
    match thing:
        case Customer():
            return _customer(thing)
        case Subscription():
            return _subscription(thing, rendering)
        case Invoice():
            return {
                "id": thing.id,
                "object": "invoice",
                "customer": thing.customer,
                "subscription": thing.subscription,
            }


def event(
    id_: str,
    type_: str,
    created: int,
    thing: Thing,
    *,
    before: Thing | None = None,
    rendering: Rendering = ON_ITEMS,
    livemode: bool = False,
) -> dict[str, Any]:
    """Return the event that shows *thing*; *before* is what it was, if it changed."""
    now = rendered(thing, rendering)
    data: dict[str, Any] = {"object": now}
    if before is not None:
        data["previous_attributes"] = _previous(rendered(before, rendering), now)
    return {
        "id": id_,
        "object": "event",
        "api_version": rendering.version,
        "created": created,
        "livemode": livemode,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type_,
        "data": data,
    }


def delivery(
    event_: Mapping[str, Any], secret: str, now: float
) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a delivery that is signed at *now* (seconds)."""
    body = orjson.dumps(event_)
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return body, sign(STRIPE, secret, body, now, headers=kind)


def _customer(customer: Customer) -> dict[str, Any]:
    return {
        "id": customer.id,
        "object": "customer",
        "created": customer.created,
        "currency": None,
        "delinquent": False,
        "email": customer.email,
        "livemode": False,
        "metadata": dict(customer.metadata),
        "name": customer.name,
    }


def _subscription(sub: Subscription, rendering: Rendering) -> dict[str, Any]:
    period = {"current_period_end": sub.ends}
    item = {
        "id": f"si_{sub.id}",
        "object": "subscription_item",
        "metadata": {},
        "price": _price(sub.plan),
        "quantity": sub.quantity,
        "subscription": sub.id,
    }
    own = {} if rendering.periods_on_items else period
    shown = item | period if rendering.periods_on_items else item
    return {
        "id": sub.id,
        "object": "subscription",
        "cancel_at": sub.cancel_at,
        "cancel_at_period_end": sub.cancel_at_period_end,
        "canceled_at": sub.canceled_at,
        "collection_method": "charge_automatically",
        "currency": sub.plan.currency,
        "customer": sub.customer,
        "discounts": [],
        "ended_at": sub.ended_at,
        "items": {"object": "list", "data": [shown], "has_more": False},
        "livemode": False,
        "metadata": dict(sub.metadata),
        "pause_collection": None,
        "status": sub.status,
        "trial_end": sub.trial_end,
        **own,
    }


def _price(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "currency": plan.currency,
        "nickname": plan.name,
        "product": "prod_example",
        "recurring": {
            "interval": plan.interval,
            "interval_count": plan.count,
            "usage_type": "licensed",
        },
        "tax_behavior": "exclusive",
        "type": "recurring",
        "unit_amount": plan.unit,
        "unit_amount_decimal": str(plan.unit),
    }


def _previous(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The values that differ, as they were; of a list the whole of it."""
    return {
        key: {"data": old["data"]} if key == "items" else old
        for key, old in before.items()
        if old != now.get(key)
    }
