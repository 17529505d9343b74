"""The work of a fold grows with the facts, and not with their square.

Counted in calls, not in seconds: twice the facts are twice the calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from bridge.domain.account import Party, identify, unite
from bridge.domain.catalogue import references
from bridge.domain.document import document
from bridge.domain.explanation import causes
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import compact, fold
from bridge.domain.money import STRIPE
from bridge.domain.refresh import why_refresh
from bridge.store import codec

PARTY = "stripe:cus_1"


def told(thing: str, at: int, **value: Any) -> Fact:
    event = f"evt_{thing}_{at}"
    return Fact(PARTY, thing, Stamp(False, at, 2), event, "k", value, event)


def many(count: int) -> list[Fact]:
    """A customer with *count* subscriptions, each with a discount of its own."""
    item = {"price": "price_1", "unit": "1000", "interval": "month", "ends": 9}
    facts = [told("customer", 0, account="acme")]
    for n in range(count):
        facts += [
            told(
                f"subscription:sub_{n}",
                at,
                status="active",
                currency="usd",
                items=[item],
            )
            for at in (1, 2, 2 + n % 2)
        ]
        facts.append(
            told(
                f"discount:di_{n}",
                3,
                id=f"di_{n}",
                subscription=f"sub_{n}",
                percent="50",
                duration="forever",
            )
        )
    return facts


def one_thing(count: int) -> list[Fact]:
    """A customer whose one subscription was told *count* times, half in one second."""
    return [
        told("customer", 0, account="acme"),
        *(told("subscription:sub_1", min(n, count // 2), n=n) for n in range(count)),
    ]


def trail(count: int) -> list[Fact]:
    """One second in which every event changes something."""
    return [
        told("subscription:sub_1", 1, n=n)._replace(
            event=f"evt_{n}", after=f"s{n + 1}", before=f"s{n}"
        )
        for n in range(count)
    ]


def echoes(count: int) -> list[Fact]:
    """One second in which every change is told by two events."""
    once = trail(count // 2)
    return [*once, *(fact._replace(event=f"{fact.event}_again") for fact in once)]


def everything(facts: list[Fact]) -> None:
    history = codec.read(PARTY, {codec.field(f).encode(): codec.row(f) for f in facts})
    codec.rewrite(history, compact(history))
    things = fold(history)
    identify(things)
    references(things)
    party = Party(PARTY, things)
    account = unite("acme", [party])
    document(account, STRIPE, 1)
    why_refresh(party, STRIPE, 1)
    causes(account, STRIPE, 1)


def calls(do: Callable[[], None]) -> int:
    count = 0

    def counted(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(counted)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("facts", [many, one_thing, trail, echoes])
def test_twice_the_facts_are_twice_the_work(
    facts: Callable[[int], list[Fact]],
) -> None:
    some, twice = facts(150), facts(300)

    assert calls(lambda: everything(twice)) < 2.2 * calls(lambda: everything(some))
