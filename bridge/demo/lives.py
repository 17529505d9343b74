"""The month of eight customers: what is expected of each, and all of its deliveries.

`month.jsonl` has a line for each event, as Stripe delivers it:
https://docs.stripe.com/api/events/object. A day is a number: 3.5 is noon of the month's
fourth day.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from itertools import groupby, pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson

from bridge.webhook.examples import retold

Life = Mapping[str, Any]

HERE = Path(__file__).parent

LIVES: list[Life] = tomllib.loads((HERE / "lives.toml").read_text("utf-8"))["case"]
"""In the order of the table."""

ACCOUNT_KEY = "vitally_account"
"""Key of the customer's metadata that holds the account's id."""

DAY = 86_400

RECORDED = 1_767_225_600
"""When the month of the file began (seconds)."""

LATE = 6
TWICE = 5
"""One event in so many comes after its successor; one in so many comes twice."""


class Delivery(NamedTuple):
    """One delivery: on which *day* it comes, who and what it is about, its *event*.

    *note* is `late` (its successor overtook it), `again` (it has come before) or ''.
    """

    day: float
    who: str
    words: str
    note: str
    event: dict[str, Any]


def deliveries(start: int, rng: Random) -> list[Delivery]:
    """Return all deliveries of the month that began at *start* (seconds), as they come."""
    posted = [
        delivery
        for _, own in groupby(in_order(start), key=lambda delivery: delivery.who)
        for delivery in _shuffled([*own], rng)
    ]
    return sorted(posted, key=lambda delivery: delivery.day)


def in_order(start: int) -> list[Delivery]:
    """Return the deliveries of each customer, one after the other, as of *start*."""
    text = (HERE / "month.jsonl").read_text("utf-8")
    lines = retold(text, 1000 * (start - RECORDED), {}).splitlines()
    return [Delivery(**orjson.loads(line), note="") for line in lines]


def instant(day: float, start: int) -> int:
    """Return *day* of the month that began at *start*, in seconds."""
    return start + round(day * DAY)


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
