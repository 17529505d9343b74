"""Stripe's side in a test: its customers, their events, and posting them signed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import orjson
from urllib3 import PoolManager, Timeout

from tests.support.stripe_events import (
    ON_ITEMS,
    ON_SUBSCRIPTION,
    Customer,
    Plan,
    Rendering,
    Subscription,
    Thing,
    delivery,
    event,
)

__all__ = [
    "ON_ITEMS",
    "ON_SUBSCRIPTION",
    "PRO",
    "SECRET",
    "YEARLY",
    "Answer",
    "Customer",
    "Plan",
    "Shop",
    "Stripe",
    "Subscription",
    "iso",
]

SECRET = "whsec_example"

PRO = Plan("Pro", 4900)
YEARLY = Plan("Yearly", 60000, interval="year")

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


class Stripe:
    """Posts to one or several bridges in turn; threads may share it."""

    def __init__(self, urls: Iterable[str], secret: str = SECRET) -> None:
        self._urls = [f"{url}/webhooks/stripe" for url in urls]
        self._secret = secret
        self._turn = itertools.count()
        self._pool = PoolManager(maxsize=16, retries=False, timeout=Timeout(10))

    def post(self, told: Mapping[str, Any]) -> Answer:
        """Deliver an event once, signed now."""
        body, headers = delivery(told, self._secret, time.time())
        return self.raw(body, headers)

    def raw(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post bytes as they are."""
        url = self._urls[next(self._turn) % len(self._urls)]
        reply = self._pool.request("POST", url, body=body, headers=headers)
        return Answer(reply.status, reply.headers, orjson.loads(reply.data))

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.clear()


class Shop:
    """One customer and what becomes of it: each call makes the event that tells so.

    Events of one shop are a minute apart; with *seconds* 0 in the same second.
    """

    def __init__(self, rendering: Rendering = ON_ITEMS, prefix: str = "cus") -> None:
        self.id = f"{prefix}_{next(_numbers)}x{time.monotonic_ns() % 10**9}"
        self._rendering = rendering
        self._now = BORN
        self._events = itertools.count(1)
        self._things: dict[str, Thing] = {}
        self._last = BORN

    @property
    def last(self) -> int:
        """When the last event was created, in seconds."""
        return self._last

    def signs_up(self, name: str = "Example Shop") -> dict[str, Any]:
        """Make `customer.created`."""
        email = f"{self.id}@shop.example"
        return self._told(
            "customer.created", Customer(self.id, name, email, created=self._now)
        )

    def is_renamed(self, name: str) -> dict[str, Any]:
        """Make `customer.updated`."""
        return self._changed("customer.updated", self.id, name=name)

    def begins(
        self, of: str = "1", plan: Plan = PRO, *, seconds: int = 60, **now: Any
    ) -> dict[str, Any]:
        """Make `customer.subscription.created`."""
        now = {"ends": BORN + MONTH} | now
        sub = Subscription(self.sub(of), self.id, plan, **now)
        return self._told("customer.subscription.created", sub, seconds=seconds)

    def changes(
        self, of: str = "1", *, seconds: int = 60, **now: Any
    ) -> dict[str, Any]:
        """Make `customer.subscription.updated`."""
        kind = "customer.subscription.updated"
        return self._changed(kind, self.sub(of), seconds=seconds, **now)

    def ends(self, of: str = "1", *, seconds: int = 60) -> dict[str, Any]:
        """Make `customer.subscription.deleted`."""
        at = self._last + seconds
        sub = self._things[self.sub(of)]
        gone = replace(sub, status="canceled", canceled_at=at, ended_at=at)
        return self._told("customer.subscription.deleted", gone, seconds=seconds)

    def pays(self) -> dict[str, Any]:
        """Make an event that changes no account."""
        told = self._told("customer.source.expiring", self._things[self.id])
        return told | {"type": "invoice.paid"}

    def sub(self, of: str) -> str:
        """Id of a subscription."""
        return f"sub_{self.id}_{of}"

    def _changed(
        self, kind: str, id_: str, /, *, seconds: int = 60, **now: Any
    ) -> dict[str, Any]:
        before = self._things[id_]
        return self._told(kind, replace(before, **now), before, seconds=seconds)

    def _told(
        self, kind: str, thing: Thing, before: Thing | None = None, seconds: int = 60
    ) -> dict[str, Any]:
        self._last += seconds
        self._things[thing.id] = thing
        return event(
            f"evt_{self.id}_{next(self._events)}",
            kind,
            self._last,
            thing,
            before=before,
            rendering=self._rendering,
        )


def iso(seconds: int) -> str:
    """An instant as the bridge writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))
