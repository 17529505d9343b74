"""The eight customers of `lives.toml`, and their events as Stripe delivers them.

https://docs.stripe.com/api/events/object. A day is a number: 3.5 is noon of the month's
fourth day. Instants of Stripe are whole seconds since the epoch (UTC).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

Json = dict[str, Any]
Life = Mapping[str, Any]

LIVES: list[Life] = tomllib.loads(
    Path(__file__).with_name("lives.toml").read_text(encoding="utf-8")
)["case"]
"""In the order of the table."""

ACCOUNT_KEY = "vitally_account"
"""Key of the customer's metadata that holds the account's id."""

DAY = 86_400

LATE = 6
TWICE = 5
"""One event in so many comes after its successor; one in so many comes twice."""

VERSIONS = {"price": "2024-06-20", "items": "2026-09-30.endive"}
"""Rendering -> API version; before 2025-03-31 periods stood on the subscription.

https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-subscription-current-period-start-and-end
"""

IDS = {"customer": "cus_1", "subscription": "sub_1", "invoice": "in_1"}
"""Kind of object -> its id where an event names none."""

INSTANTS = ("trial_end", "cancel_at", "canceled_at", "ended_at")
"""What an event says as a day."""


class Delivery(NamedTuple):
    """One delivery: on which *day* it comes, who and what it is about, its *event*.

    *note* is `late` (its successor overtook it), `again` (it has come before) or ''.
    """

    day: float
    who: str
    words: str
    note: str
    event: Json


def deliveries(lives: Iterable[Life], start: int, rng: Random) -> list[Delivery]:
    """Return all deliveries of the month that began at *start* (seconds), as they come."""
    posted = [
        delivery
        for life in lives
        for delivery in _shuffled([*in_order(life, start)], rng)
    ]
    return sorted(posted, key=lambda delivery: delivery.day)


def in_order(life: Life, start: int) -> Iterator[Delivery]:
    """Yield the deliveries of one customer, each once and in order."""
    (account,), (rendering,) = life["accounts"], life["renderings"]
    objects: dict[str, Json] = {}
    known: dict[str, Life] = {}
    for number, step in enumerate(life["events"], 1):
        kind, _, event = step.get("type", "subscription.updated").rpartition(".")
        id_ = step.get("id", IDS[kind])
        known[id_] = state = known.get(id_, {}) | step
        before = objects.get(id_, {})
        own = {"id": _own(id_, account), "object": kind}
        if kind == "customer":
            own |= {name: state[name] for name in ("name", "email", "metadata")}
        else:
            own |= {"customer": _own("cus_1", account)}
        if kind == "subscription":
            own |= _subscription(state, start, on_items=rendering == "items")
        objects[id_] = own
        data: Json = {"object": own}
        if event == "updated":
            data["previous_attributes"] = _previous(before, own)
        shown = {
            "id": f"evt_{account}_{number}",
            "object": "event",
            "api_version": VERSIONS[rendering],
            "created": instant(step["day"], start),
            "livemode": False,
            "type": f"{'customer.' * (kind == 'subscription')}{kind}.{event}",
            "data": data,
        }
        yield Delivery(step["day"], life["name"], step["says"], "", shown)


def instant(day: float, start: int) -> int:
    """Return *day* of the month that began at *start*, in seconds."""
    return start + round(day * DAY)


def _own(id_: str, account: str) -> str:
    """An id of one life (`sub_1`) as one that is unique in the month."""
    prefix, _, number = id_.partition("_")
    return f"{prefix}_{account.replace('-', '_')}_{number}"


def _subscription(state: Life, start: int, *, on_items: bool) -> Json:
    (item,) = state["items"]
    period = {"current_period_end": instant(item["ends"], start)}
    currency, every = state.get("currency", "usd"), item.get("every", "month")
    price = {
        "id": f"price_{item['name'].lower().replace(' ', '_')}_{currency}",
        "object": "price",
        "billing_scheme": "per_unit",
        "currency": currency,
        "nickname": item["name"],
        "product": "prod_example",
        "recurring": {
            "interval": every,
            "interval_count": item.get("count", 1),
            "usage_type": "licensed",
        },
        "type": "recurring",
        "unit_amount": item["unit"],
        "unit_amount_decimal": str(item["unit"]),
    }
    row = {
        "id": "si_example",
        "object": "subscription_item",
        "price": price,
        "quantity": item.get("quantity", 1),
        **(period if on_items else {}),
    }
    instants = {name: state.get(name) for name in INSTANTS}
    return {
        "status": state["status"],
        "cancel_at_period_end": state.get("cancel_at_period_end", False),
        "currency": currency,
        "items": {"object": "list", "data": [row], "has_more": False},
        "metadata": {},
        **{n: None if d is None else instant(d, start) for n, d in instants.items()},
        **({} if on_items else period),
    }


def _previous(before: Json, after: Json) -> Json:
    """The values that differ, as they were; of a list the whole of it."""
    return {
        key: {"data": old["data"]} if key == "items" else old
        for key, old in before.items()
        if old != after[key]
    }


def _shuffled(deliveries: list[Delivery], rng: Random) -> list[Delivery]:
    """Let some be overtaken by what came next, and some come twice."""
    late = rng.sample(range(len(deliveries) - 1), max(1, len(deliveries) // LATE))
    posted = [
        delivery._replace(day=next_.day + 0.001, note="late") if n in late else delivery
        for n, (delivery, next_) in enumerate(pairwise(deliveries))
    ] + deliveries[-1:]
    twice = rng.sample(posted, max(1, len(deliveries) // TWICE))
    again = (
        delivery._replace(day=delivery.day + rng.uniform(0.01, 2), note="again")
        for delivery in twice
    )
    return [*posted, *again]
