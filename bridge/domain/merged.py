"""A customer that became another's: what it is until that one is known.

A CRM tells in one event that two records are one from now on, and only its API tells
what that one holds. Between the two nobody has churned.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.domain.catalogue import SUBSCRIPTION
from bridge.domain.facts import REFRESH_TWICE, REFRESHED, TO_REFRESH
from bridge.domain.fold import State

Things = Mapping[str, State]

INTO = "into"
"""Of a customer that was merged: the party that it became."""

HEIR_MS = 600_000
"""How long it goes on as it was while that party is not known."""

SECOND_MS = 1000
"""A reading in the second of the merge is one since: its clock has no fractions."""


def waits(things: Things, everybody: Mapping[str, Things]) -> int:
    """Until when (ms) a party of *things* goes on as it was; 0: no more.

    *everybody* are the things of all parties of its account, by name. The money of the
    party that it became is known once that one was read since.
    """
    customer, asked = things.get("customer"), things.get(TO_REFRESH)
    if customer is None or INTO not in customer.value:
        return 0
    since = customer.fact.stamp.at
    if asked is not None and asked.value.get(REFRESH_TWICE):
        since = min(since, asked.fact.stamp.at)
    heir = everybody.get(customer.value[INTO])
    pays = any(thing.startswith(SUBSCRIPTION) for thing in things)
    if heir is not None and (not pays or _was_read(heir, since - SECOND_MS)):
        return 0
    return since + HEIR_MS


def _was_read(things: Things, since: int) -> bool:
    return REFRESHED in things and things[REFRESHED].fact.stamp.at >= since


def as_it_was(things: Things) -> Things:
    """The *things* of a party as if it had not been merged yet."""
    customer = things["customer"]
    value = {k: v for k, v in customer.value.items() if k != "deleted"}
    alive = customer._replace(fact=customer.fact._replace(value=value))
    return {**things, "customer": alive}
