"""How the lives become deliveries: in the order of the post, some twice, some late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

from bridge.demo.steps import Life, Step
from bridge.demo.stripe import Customer, Invoice, Subscription, Thing, event

ACCOUNT_KEY = "vitally_account"
"""Key of the customer's metadata that holds the account's id."""

DAY = 86_400

LATE = 6
TWICE = 5
"""One event in so many comes after its successor; one in so many comes twice."""

INSTANTS = ("ends", "trial_end", "cancel_at", "canceled_at", "ended_at")
"""What a step says as a day."""


class Letter(NamedTuple):
    """One delivery: on which *day* it comes, who and what it is about, its *event*.

    *note* is `late` (its successor overtook it), `again` (it has come before) or ''.
    """

    day: float
    who: str
    words: str
    note: str
    event: Mapping[str, Any]


def letters(lives: Iterable[Life], start: int, rng: Random) -> list[Letter]:
    """Return all deliveries of the month that began at *start* (seconds), as they come."""
    posted = [
        letter for life in lives for letter in _disturbed(_letters(life, start), rng)
    ]
    return sorted(posted, key=lambda letter: letter.day)


def instant(day: float, start: int) -> int:
    """Return *day* of the month that began at *start*, in seconds."""
    return start + round(day * DAY)


def _letters(life: Life, start: int) -> list[Letter]:
    """The deliveries of one customer, each once and in order."""
    things: dict[str, Thing] = {}
    found: list[Letter] = []
    for number, step in enumerate(life.steps, 1):
        before = things.get(step.of)
        now = things[step.of] = _thing(life, step, before, start)
        told = event(
            f"evt_{life.account}_{number}",
            f"{_kind(now)}.{step.event}",
            instant(step.day, start),
            now,
            before=before if step.event == "updated" else None,
            rendering=life.rendering,
        )
        found.append(Letter(step.day, life.name, step.words, "", told))
    return found


def _thing(life: Life, step: Step, before: Thing | None, start: int) -> Thing:
    """What the step is about, as it is after it."""
    said: dict[str, Any] = {
        name: instant(value, start) if name in INSTANTS else value
        for name, value in step.now.items()
    }
    plain = life.account.replace("-", "_")
    customer = f"cus_{plain}"
    if before is not None:
        return replace(before, **said)
    if step.of == "customer":
        known = {ACCOUNT_KEY: life.account}
        email = f"billing@{life.account}.example"
        born = instant(step.day, start)
        return Customer(customer, email=email, created=born, metadata=known, **said)
    if step.of == "invoice":
        return Invoice(f"in_{plain}", customer, f"sub_{plain}_1")
    return Subscription(f"sub_{plain}_{step.of}", customer, **said)


def _kind(thing: Thing) -> str:
    match thing:
        case Customer():
            return "customer"
        case Invoice():
            return "invoice"
        case Subscription():
            return "customer.subscription"


def _disturbed(told: list[Letter], rng: Random) -> list[Letter]:
    """Let some be overtaken by what came next, and some come twice."""
    last = told[-1]
    late = rng.sample(range(len(told) - 1), max(1, len(told) // LATE))
    found = [
        letter._replace(day=next_.day + 0.001, note="late") if n in late else letter
        for n, (letter, next_) in enumerate(pairwise(told))
    ] + [last]
    twice = rng.sample(found, max(1, len(told) // TWICE))
    again = (
        letter._replace(day=letter.day + rng.uniform(0.01, 2), note="again")
        for letter in twice
    )
    return [*found, *again]
