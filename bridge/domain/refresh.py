"""Decides when a party must be refreshed from its source because events say too little."""

from __future__ import annotations

from bridge.domain.account import Party, is_incomplete, subscriptions
from bridge.domain.facts import Rank
from bridge.domain.fold import State
from bridge.domain.money import Policy, UnknownError
from bridge.domain.subscription import (
    Subscription,
    at,
    cancels_at,
    payment,
    renews_at,
)
from bridge.domain.values import (
    ENDED,
    REFRESH_TWICE,
    REFRESHED,
    SUBSCRIPTION,
    TO_REFRESH,
)


def why_refresh(party: Party, policy: Policy, now: int) -> str | None:
    """Why *party* must be refreshed at *now* (ms); None: its events say enough.

    Only what came after the last refresh counts: another refresh would return the same.
    """
    last = party.things.get(REFRESHED)
    if newest_notice(party) > _answered(last):
        return "an event without content came"
    if last is None and is_incomplete(party.things):
        return "it was first met in mid-life"
    for sub in (at(sub, now) for sub in subscriptions(party)):
        is_read = party.things[SUBSCRIPTION + sub.id].fact.stamp.rank == Rank.FROM_API
        if sub.status in ENDED or (is_read and not _asks_for_scopes(sub, last)):
            continue
        if sub.rivals:
            return f"{sub.id}: the order of its events is not certain"
        if reason := _unknown(sub, policy, now):
            return reason
    return None


def _unknown(sub: Subscription, policy: Policy, now: int) -> str | None:
    """What is unknown about a subscription that its traits need; None: nothing."""
    try:
        if sub.status in policy.statuses:
            payment(sub, policy, now)
        if sub.is_live:
            renews_at(sub)
            cancels_at(sub)
    except UnknownError as error:
        return str(error)
    return None


def _asks_for_scopes(sub: Subscription, last: State | None) -> bool:
    """Whether version 0.1 refreshed it; that version stored nothing about discounts."""
    is_old = last is not None and "discounts" not in last.value
    return is_old and any("among" in one for one in sub.value["discounts"])


def refresh_early_by(party: Party) -> int:
    """Milliseconds by which the last refresh came before the end of a merge; 0: it did not.

    HubSpot reports a merge before its whole API knows of it, with a clock of whole
    seconds.
    """
    asked, last = party.things.get(TO_REFRESH), party.things.get(REFRESHED)
    if asked is None or last is None or not asked.value.get(REFRESH_TWICE):
        return 0
    return max(0, newest_notice(party) - _answered(last))


def newest_notice(party: Party) -> int:
    """When (ms) the newest event without content came; -1: there is none."""
    asked = party.things.get(TO_REFRESH)
    return asked.fact.stamp.at if asked else -1


def _answered(last: State | None) -> int:
    """The newest notice (ms) that the *last* refresh answers; -1: it answers none."""
    return int(last.value.get(TO_REFRESH, -1)) if last else -1
