"""Chargebee's side in a test: its resources, the events that carry them, its password.

Instants are days, day 0 is 2026-11-01; a resource's version is the moment of its event.
"""

from __future__ import annotations

import itertools
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

DAY_0 = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
USERNAME, PASSWORD = "bridge", "example-password"

_numbers = itertools.count(1)


def seconds(day: float) -> int:
    return DAY_0 + round(day * 86_400)


def instant(day: float) -> str:
    """A day as the bridge writes it."""
    at = datetime.fromtimestamp(seconds(day), UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def headers(username: str = USERNAME, password: str = PASSWORD) -> dict[str, str]:
    pair = b64encode(f"{username}:{password}".encode()).decode()
    return {"authorization": f"Basic {pair}"}


def customer(day: float = 0, **said: Any) -> Json:
    """A company; a key with None is left out."""
    own = {
        "id": "cb_1",
        "company": "Blue Door",
        "email": "ada@shop.example",
        "resource_version": seconds(day) * 1000,
        "deleted": False,
        "object": "customer",
    }
    return _given({**own, **said})


def subscription(day: float = 0, **said: Any) -> Json:
    """One of Product Catalog 2: $98 a month; a key with None is left out."""
    own = {
        "id": "sub_1",
        "customer_id": "cb_1",
        "status": "active",
        "currency_code": "USD",
        "mrr": 9800,
        "billing_period": 1,
        "billing_period_unit": "month",
        "current_term_end": seconds(30),
        "subscription_items": [item(quantity=2, unit_price=4900, amount=9800)],
        "resource_version": seconds(day) * 1000,
        "deleted": False,
        "object": "subscription",
    }
    return _given({**own, **said})


def item(name: str = "team-USD", kind: str = "plan", **said: Any) -> Json:
    return {"item_price_id": name, "item_type": kind, **said}


def event(kind: str, day: float, *, id_: str | None = None, **content: Any) -> Json:
    """An event that occurred on *day*, with its resources by name."""
    return {
        "id": id_ or f"ev_{next(_numbers)}",
        "occurred_at": seconds(day),
        "object": "event",
        "api_version": "v2",
        "event_type": kind,
        "content": content,
    }


def told(kind: str, day: float, **said: Any) -> Json:
    """An event of a subscription, its customer beside it."""
    now = subscription(day, **said)
    return event(kind, day, subscription=now, customer=customer(id=now["customer_id"]))


def _given(own: Mapping[str, Any]) -> Json:
    return {key: value for key, value in own.items() if value is not None}
