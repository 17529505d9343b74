"""What a run will do and when: drawn from a seed, or read from the log of another run.

Nothing is left to chance once there is a plan; playing it asks no generator.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.chaos.faults import FAULTS, Fault
from tests.support.stripe import ON_ITEMS, ON_SUBSCRIPTION, YEARLY, Shop

SHOPS = 14
BURST = 60
"""Events of the hot customer that come at once."""

EVENTS_A_SECOND = 6
REST = 2.0
"""Seconds at the end in which nothing new breaks."""

LONGEST_GAP = 1.5
"""Seconds between two faults, at most."""


class Action(NamedTuple):
    """One thing to do *at* seconds from the start: an event to post, or a fault."""

    at: float
    do: str
    using: Mapping[str, Any]


class Plan(NamedTuple):
    """A whole run; an action names an event by its place in *events*."""

    seed: int
    seconds: float
    events: Sequence[Mapping[str, Any]]
    actions: Sequence[Action]


def draw(
    seed: int, seconds: float, faults: Sequence[Fault] = tuple(FAULTS.values())
) -> Plan:
    """Draw a run of *seconds*: every fault comes once before one comes again."""
    rng = random.Random(seed)
    hot = Shop(prefix="hot")
    hot.id = f"hot_{seed}"
    events = [hot.signs_up("Hot Example", "acct-hot"), hot.begins()]
    burst = [hot.changes(quantity=n, seconds=n % 2) for n in range(1, BURST + 1)]
    changes = max(2, round(seconds * EVENTS_A_SECOND / SHOPS) - 6)
    for number in range(SHOPS):
        events += _life(rng, f"chaos_{seed}_{number}", number, changes)
    order = list(range(len(events)))
    rng.shuffle(order)
    order += rng.sample(order, len(order) // 5)
    posts = [
        Action(round(seconds * place / len(order), 3), "post", {"event": event})
        for place, event in enumerate(order)
    ]
    told = {"first": len(events), "count": len(burst)}
    dealt = list(_dealt(rng, seconds, faults, told))
    ordered = sorted(posts + dealt, key=lambda action: action.at)
    return Plan(seed, seconds, events + burst, ordered)


def _dealt(
    rng: random.Random, seconds: float, faults: Sequence[Fault], burst: dict[str, int]
) -> list[Action]:
    """Deal the faults like a deck; one at a time to each thing that breaks."""
    gap = min(LONGEST_GAP, (seconds - REST - 1) / len(faults))
    actions: list[Action] = []
    busy: dict[str, float] = {}
    deck: list[Fault] = []
    for turn in range(int((seconds - REST - 1) / gap)):
        at = 1 + turn * gap
        deck = deck or rng.sample(faults, len(faults))
        free = (fault for fault in deck if busy.get(fault.target, 0) <= at)
        fault = next(free, None)
        if fault is None:
            continue
        deck.remove(fault)
        using = fault.draw(rng) | (burst if fault.name == "burst" else {})
        actions.append(Action(round(at, 3), fault.name, using))
        end = at + using.get("seconds", 0)
        if fault.end is not None:
            actions.append(Action(round(end, 3), f"end {fault.name}", using))
        busy[fault.target] = end + fault.calm
    return actions


def _life(
    rng: random.Random, id_: str, number: int, changes: int
) -> list[dict[str, Any]]:
    """A life of one customer; some share an account, one moves, one has none."""
    shop = Shop((ON_ITEMS, ON_SUBSCRIPTION)[number % 2])
    shop.id = id_
    account = f"acct-{id_}" if number % 5 else f"acct-{id_.rpartition('_')[0]}-shared"
    name = f"Example {number}"
    told = [shop.signs_up(name, "" if number == 1 else account)]
    told += [shop.begins("1", status="trialing"), shop.changes("1", status="active")]
    told.append(shop.begins("2", YEARLY))
    for _ in range(rng.randint(changes // 2, changes * 3 // 2)):
        quantity, same = rng.randint(1, 9), rng.choice((0, 60))
        told.append(shop.changes("1", quantity=quantity, seconds=same))
    if number == 2:
        moved = {"account": f"{account}-moved"}
        told.append(shop.is_changed(metadata=moved))
    if rng.random() < 0.5:
        told += [shop.ends("1"), shop.changes("2", status="past_due")]
    if rng.random() < 0.3:
        told.append(shop.ends("2"))
    return told
