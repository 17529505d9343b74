"""Why a party has to be read from its source: what its events do not tell."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.domain.account import Party, is_incomplete, subscriptions
from bridge.domain.facts import Rank
from bridge.domain.fold import State
from bridge.domain.money import Unknown
from bridge.domain.policy import Policy
from bridge.domain.subscription import (
    Subscription,
    at,
    cancels_at,
    renews_at,
    worked,
)
from bridge.domain.values import ENDED, REFRESH_TWICE, REFRESHED, TO_REFRESH


def why_refresh(party: Party, policy: Policy, now: int) -> str | None:
    """Why *party* is to be read at *now* (ms), None: its events tell enough.

    What is newer than the last reading counts alone: reading twice cannot help.
    """
    thin, last = party.things.get(TO_REFRESH), party.things.get(REFRESHED)
    newest_notice = last.value.get(TO_REFRESH, -1) if last else -1
    if thin is not None and thin.fact.stamp.at > newest_notice:
        return "an event without content came"
    if last is None and is_incomplete(party.things):
        return "it was first met in mid-life"
    for sub in (at(sub, now) for sub in subscriptions(party)):
        state = party.things[f"subscription:{sub.id}"]
        if sub.status in ENDED:
            continue
        if state.fact.stamp.rank == Rank.FROM_API and not _asks_for_scopes(sub, last):
            continue
        if sub.ambiguous:
            return f"{sub.id}: the order of its events is not certain"
        for reason in _unknown(sub, policy, now):
            return reason
    return None


def _asks_for_scopes(sub: Subscription, last: State | None) -> bool:
    """Whether it was read by version 0.1, which kept nothing of its discounts."""
    discounts = [*sub.value.get("discounts", ()), *sub.customer_discounts]
    is_old = last is not None and "discounts" not in last.value
    return is_old and any("among" in one for one in discounts)


def _unknown(sub: Subscription, policy: Policy, now: int) -> Iterator[str]:
    told: list[object] = []
    if sub.status in policy.statuses:
        told.append(worked(sub, policy, now))
    if sub.is_live:
        told += [renews_at(sub), cancels_at(sub)]
    yield from (one.reason for one in told if isinstance(one, Unknown))


def refresh_early_by(party: Party) -> int:
    """Milliseconds by which a merge is later than the reading of it; 0: it is not.

    HubSpot's clock has whole seconds, and a record may be told before all of it is one.
    """
    thin, last = party.things.get(TO_REFRESH), party.things.get(REFRESHED)
    if thin is None or last is None or not thin.value.get(REFRESH_TWICE):
        return 0
    return max(0, thin.fact.stamp.at - int(last.value.get(TO_REFRESH, -1)))


def newest_notice(party: Party) -> int:
    """The instant (ms) of the newest event without content that a reading answers."""
    thin = party.things.get(TO_REFRESH)
    return thin.fact.stamp.at if thin else -1
