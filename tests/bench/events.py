"""What Stripe sends of a customer's months, at its full size, signed.

`event.json` is written after https://docs.stripe.com/api/subscriptions/object; its
values are made up, and the ids that are filled in are as long as Stripe's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from bridge.webhook.auth import STRIPE, sign
from tests.support.stripe import BORN, MONTH, SECRET

Event = dict[str, Any]
Moment = list[Event]
"""Events that come within seconds of one another."""

PATH = "/webhooks/stripe"
SENT = {
    "Host": "bridge.example",
    "Accept": "*/*; q=0.5, application/xml",
    "Cache-Control": "no-cache",
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
}
TEMPLATE = orjson.loads(Path(__file__).with_name("event.json").read_bytes())

RENEWALS = 3
PAID = (
    "invoice.finalized",
    "payment_intent.created",
    "charge.succeeded",
    "payment_intent.succeeded",
    "invoice.paid",
    "invoice.payment_succeeded",
)
FAILED = ("invoice.finalized", "payment_intent.payment_failed", "charge.failed")
"""What Stripe sends round a change of a subscription; no account depends on it.

https://docs.stripe.com/billing/subscriptions/webhooks#events
"""

_numbers = count(1)


def requests(events: Iterable[Event]) -> list[bytes]:
    """The whole HTTP requests that deliver *events*, signed now."""
    now = time.time()
    return [_request(event, now) for event in events]


def _request(event: Event, now: float) -> bytes:
    body = orjson.dumps(event, option=orjson.OPT_INDENT_2)
    headers = sign(STRIPE, SECRET, body, now, headers=SENT)
    lines = [f"POST {PATH} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Customer:
    """One customer; each call makes the event that tells what became of it."""

    def __init__(self) -> None:
        self.id = f"cus_Q{next(_numbers):013}"
        self._events, self._invoices = count(1), count(1)
        self._things: dict[str, Event] = {}

    def signs_up(self) -> Event:
        """Make `customer.created`."""
        shown = {
            "id": self.id,
            "object": "customer",
            "created": BORN,
            "currency": "usd",
            "delinquent": False,
            "email": f"billing@{self.id[5:]}.example",
            "livemode": False,
            "metadata": {},
            "name": f"Example Company {self.id[-4:]} Ltd",
        }
        return self._event("customer.created", shown)

    def begins(self, of: int = 1, **changes: Any) -> Event:
        """Make `customer.subscription.created`."""
        begun = deepcopy(TEMPLATE["data"]["object"])
        ends = {"current_period_start": BORN, "current_period_end": BORN + MONTH}
        begun |= {"id": f"sub_1{self.id[4:]}{of:09}", "customer": self.id, **ends}
        self._things[begun["id"]] = begun | changes
        return self._event("customer.subscription.created", begun | changes)

    def changes(self, of: int = 1, **changes: Any) -> Event:
        """Make `customer.subscription.updated`."""
        id_ = f"sub_1{self.id[4:]}{of:09}"
        before = self._things[id_]
        self._things[id_] = before | changes
        event = self._event("customer.subscription.updated", self._things[id_])
        event["data"]["previous_attributes"] = {name: before[name] for name in changes}
        return event

    def seats(self, quantity: int) -> Event:
        """Make the `customer.subscription.updated` of another number of seats."""
        items = deepcopy(TEMPLATE["data"]["object"]["items"])
        items["data"][0]["quantity"] = quantity
        return self.changes(quantity=quantity, items=items)

    def ends(self) -> Event:
        """Make `customer.subscription.deleted`."""
        ended = {"status": "canceled", "ended_at": BORN + MONTH}
        return self.changes(**ended) | {"type": "customer.subscription.deleted"}

    def noise(self, *types: str) -> Moment:
        """Make events of these types, which change no trait but those about payments."""
        shown = TEMPLATE["data"]["object"] | {"customer": self.id}
        kinds = [(type_, type_.partition(".")[0]) for type_ in types]
        return [
            self._event(type_, shown | {"object": kind} | self._paid(kind))
            for type_, kind in kinds
        ]

    def _paid(self, kind: str) -> Event:
        """What an invoice or a card has that a subscription does not."""
        at = BORN + 60 * next(self._invoices)
        invoice = {
            "id": f"in_1{self.id[4:]}{at:011}",
            "status": "paid",
            "amount_paid": 18_000,
            "attempt_count": 1,
            "status_transitions": {"paid_at": at},
        }
        card = {"id": f"pm_1{self.id[4:]}", "card": {"exp_year": 2030, "exp_month": 4}}
        return {"invoice": invoice, "payment_method": card}.get(kind, {})

    def _event(self, type_: str, shown: Event) -> Event:
        number = next(self._events)
        return TEMPLATE | {
            "id": f"evt_1{self.id[4:]}{number:09}",
            "type": type_,
            "created": BORN + 60 * number,
            "data": {"object": shown},
        }


def life(customer: Customer, number: int) -> Iterator[Moment]:
    """Months of a customer: a sign-up, renewals, and what happens to some."""
    yield [
        customer.signs_up(),
        *customer.noise("payment_method.attached"),
        customer.begins(status="incomplete"),
        *customer.noise("invoice.created", *PAID),
        customer.changes(status="active"),
    ]
    for month in range(RENEWALS):
        begins = BORN + (month + 1) * MONTH
        period = {"current_period_start": begins, "current_period_end": begins + MONTH}
        created = customer.noise("invoice.created")
        if number % 10 == month:
            late = customer.changes(status="past_due", **period)
            yield [*created, late, *customer.noise(*FAILED)]
            yield [*customer.noise(*PAID), customer.changes(status="active")]
        else:
            yield [*created, customer.changes(**period), *customer.noise(*PAID)]
        if number % 3 == month:
            seats = [customer.seats(13 + month + more) for more in range(2)]
            yield [*seats, *customer.noise("invoiceitem.created")]


def months(customers: int) -> list[list[Moment]]:
    """The moments of new customers, first the first of each."""
    lives = [list(life(Customer(), number)) for number in range(customers)]
    longest = max(map(len, lives))
    return [[one[nth] for one in lives if len(one) > nth] for nth in range(longest)]


def in_turn(moments: Sequence[Moment]) -> Moment:
    """The first event of each moment, then the second of each, and so on."""
    longest = max(map(len, moments))
    return [m[nth] for nth in range(longest) for m in moments if len(m) > nth]
