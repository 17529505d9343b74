"""Stripe's side in a test: its customers, their events, and posting them signed.

https://docs.stripe.com/api/events/object
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from urllib3 import PoolManager, Timeout

from bridge.webhook.auth import STRIPE, sign
from tests.support.local_stripe import Json, customer, item, price, subscription
from tests.support.waiting import eventually

SECRET = "whsec_example"

ON_SUBSCRIPTION, ON_ITEMS = "2024-06-20", "2026-09-30.endive"
"""API versions; before 2025-03-31 the period of an item stood on its subscription.

https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-subscription-current-period-start-and-end
"""

PRO = price("price_pro", nickname="Pro", product="prod_example")
YEARLY = price("price_yearly", 60000, nickname="Yearly", product="prod_example")
YEARLY["recurring"] = {**YEARLY["recurring"], "interval": "year"}

BORN = 1_790_000_000
"""When the first event of a test is created (seconds, 2026-09-21)."""

MONTH = 30 * 86_400

_numbers = itertools.count(1)


class Answer(NamedTuple):
    """What a sender gets: status, headers, and the JSON of the body."""

    status: int
    headers: Mapping[str, str]
    told: Any

    @property
    def receipt(self) -> str | None:
        """The receipt, where it is a 202."""
        return self.told.get("receipt")


def delivery(
    event: Mapping[str, Any], secret: str, now: float
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a delivery that is signed at *now* (seconds)."""
    body = orjson.dumps(event)
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return body, sign(STRIPE, secret, body, now, headers=kind)


class Stripe:
    """Posts to one or several bridges in turn; threads may share it."""

    def __init__(self, urls: Iterable[str], secret: str = SECRET) -> None:
        self._urls = itertools.cycle([f"{url}/webhooks/stripe" for url in urls])
        self._secret = secret
        self._pool = PoolManager(maxsize=16, retries=False, timeout=Timeout(10))

    def post(self, event: Mapping[str, Any]) -> Answer:
        """Deliver an event once, signed now."""
        return self.raw(*delivery(event, self._secret, time.time()))

    def deliver(self, event: Mapping[str, Any]) -> Answer:
        """Deliver an event as Stripe does: once more, while it is answered 503."""
        return eventually(lambda: (a := self.post(event)).status != 503 and a)

    def raw(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post bytes as they are."""
        url = next(self._urls)
        reply = self._pool.request("POST", url, body=body, headers=headers)
        return Answer(reply.status, reply.headers, orjson.loads(reply.data))

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.clear()


class Shop:
    """One customer and what becomes of it: each call makes the event that tells so.

    Events of one shop are a minute apart; with *seconds* 0 in the same second.
    """

    def __init__(self, version: str = ON_ITEMS, prefix: str = "cus") -> None:
        self.id = f"{prefix}_{next(_numbers)}x{time.monotonic_ns() % 10**9}"
        self.last = BORN
        """When the last event was created (seconds)."""
        self._version = version
        self._events = itertools.count(1)
        self._things: dict[str, Json] = {}

    def signs_up(self, name: str = "Example Shop", account: str = "") -> Json:
        """Make `customer.created`; its metadata may name its *account*."""
        metadata = {"account": account} if account else {}
        born = customer(self.id, created=BORN, name=name, metadata=metadata)
        return self._event("customer.created", born)

    def is_changed(self, **changes: Any) -> Json:
        """Make `customer.updated`."""
        return self._event("customer.updated", {**self._things[self.id], **changes})

    def begins(
        self, of: str = "1", plan: Json = PRO, *, seconds: int = 60, **changes: Any
    ) -> Json:
        """Make `customer.subscription.created`."""
        id_ = self.sub(of)
        new = subscription(id_, self.id, item(plan, id_=f"si_{id_}"))
        new = self._changed(new, {"ends": BORN + MONTH, **changes})
        return self._event("customer.subscription.created", new, seconds)

    def changes(self, of: str = "1", *, seconds: int = 60, **changes: Any) -> Json:
        """Make `customer.subscription.updated`."""
        changed = self._changed(self._things[self.sub(of)], changes)
        return self._event("customer.subscription.updated", changed, seconds)

    def ends(self, of: str = "1", *, seconds: int = 60) -> Json:
        """Make `customer.subscription.deleted`."""
        at = self.last + seconds
        gone = {"status": "canceled", "canceled_at": at, "ended_at": at}
        ended = {**self._things[self.sub(of)], **gone}
        return self._event("customer.subscription.deleted", ended, seconds)

    def pays(self) -> Json:
        """Make an event that changes no account."""
        return self._event("invoice.paid", {"id": f"in_{self.id}", "object": "invoice"})

    def has(self, of: str = "1") -> bool:
        """Whether a subscription has begun."""
        return self.sub(of) in self._things

    def sub(self, of: str) -> str:
        """Id of a subscription."""
        return f"sub_{self.id}_{of}"

    def _changed(self, sub: Json, changes: Json) -> Json:
        """A subscription with *changes*; `quantity` and `ends` are those of its item."""
        own, (line,) = dict(changes), sub["items"]["data"]
        if "quantity" in own:
            line = {**line, "quantity": own.pop("quantity")}
        if "ends" in own:
            end = {"current_period_end": own.pop("ends")}
            line, own = {**line, **end}, {**own, **end}
            (line if self._version == ON_SUBSCRIPTION else own).pop(
                "current_period_end"
            )
        return {**sub, "items": {**sub["items"], "data": [line]}, **own}

    def _event(self, kind: str, shown: Json, seconds: int = 60) -> Json:
        before = self._things.get(shown["id"])
        self._things[shown["id"]] = shown
        self.last += seconds
        data: Json = {"object": shown}
        if before and kind.endswith(".updated"):
            # Of a list the whole of it, as it was.
            data["previous_attributes"] = {
                key: {"data": old["data"]} if key == "items" else old
                for key, old in before.items()
                if old != shown.get(key)
            }
        return {
            "id": f"evt_{self.id}_{next(self._events)}",
            "object": "event",
            "api_version": self._version,
            "created": self.last,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
            "data": data,
        }


def iso(seconds: int) -> str:
    """An instant as the bridge writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))
