"""Decides when a party must be refreshed from its source, and what a refresh tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.domain.account import Party, is_incomplete, subscriptions
from bridge.domain.facts import READ, Fact, Rank
from bridge.domain.fold import State
from bridge.domain.forecast import TRAITS as FORECASTS
from bridge.domain.forecast import forecast
from bridge.domain.money import NeverToldError, Policy, UnknownError
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
    SECOND_MS,
    SUBSCRIPTION,
    TO_REFRESH,
    VOID,
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
        is_read = party.things[SUBSCRIPTION + sub.id].fact.is_read
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
        if policy.use & FORECASTS:
            forecast(sub, policy, now)
    except NeverToldError:
        return None
    except UnknownError as error:
        return str(error)
    return None


def _asks_for_scopes(sub: Subscription, last: State | None) -> bool:
    """Whether version 0.1 refreshed it; that version stored nothing about discounts."""
    is_old = last is not None and "discounts" not in last.value
    return is_old and any("among" in one for one in sub.value.get("discounts", ()))


def refresh_early_by(party: Party) -> int:
    """Milliseconds by which the last refresh came before the end of a merge; 0: it did not.

    HubSpot reports a merge before its whole API knows of it, with a clock of whole
    seconds.
    """
    asked, last = party.things.get(TO_REFRESH), party.things.get(REFRESHED)
    if asked is None or last is None or not asked.value.get(REFRESH_TWICE):
        return 0
    return max(0, newest_notice(party) - _answered(last))


def is_overtaken(facts: Sequence[Fact], party: Party) -> bool:
    """Whether another has read the *party* since these *facts* of it were read.

    They would be restamped to the newest ones, though they are older.
    """
    last = party.things.get(REFRESHED)
    own = [fact.stamp.at for fact in facts if fact.thing == REFRESHED]
    return bool(last and own and last.fact.stamp.at >= own[0])


def restamped(facts: Sequence[Fact], party: Party) -> list[Fact]:
    """The *facts* of a refresh, stamped later than all refreshes before it.

    HTTP's clock has whole seconds. Two refreshes in one second are ordered by
    milliseconds, which no event of the source uses. A final end that was known before is
    part of the refresh. A fact with a version of its own keeps that as its stamp.
    """
    before = party.things.get(REFRESHED)
    last = before.fact.stamp.at if before else 0
    made: list[Fact] = []
    for fact in facts:
        known = party.things.get(fact.thing)
        if fact.event != f"{READ}:{fact.stamp.at}":
            made.append(_after(fact, known))
            continue
        has_ended = fact.stamp.final and known and known.fact.stamp.final
        ended = known.fact.stamp.at if known and has_ended else 0
        at = max(fact.stamp.at, last + 1, ended)
        value = fact.value
        if fact.thing == REFRESHED:
            # Events after the instant of the refresh may not be in it.
            value = {**value, TO_REFRESH: min(newest_notice(party), at)}
        stamp = fact.stamp._replace(at=at)
        made.append(fact._replace(stamp=stamp, event=f"{READ}:{at}", value=value))
    return [*made, *_missing(made, party)]


def _after(fact: Fact, known: State | None) -> Fact:
    """A *fact* of a version, later than what is *known* from another read of it.

    Versions of rank FROM_API are whole seconds (Salesforce), so milliseconds are free.
    Without a new version a formula may have changed, or `bridge.toml`.
    """
    if known is None or known.value == fact.value:
        return fact
    last, own = known.fact.stamp, fact.stamp
    is_same = last.at // SECOND_MS == own.at // SECOND_MS
    if not is_same or {last.rank, own.rank} != {Rank.FROM_API}:
        return fact
    return fact._replace(stamp=own._replace(at=max(own.at, last.at + 1)))


def _missing(made: Sequence[Fact], party: Party) -> Iterator[Fact]:
    """Void the subscriptions that an earlier refresh returned and this one does not.

    If a subscription now belongs to another customer, the API does not say more.
    """
    if any("into" in fact.value for fact in made):
        return
    listed = {fact.thing for fact in made}
    last = made[-1]._replace(stamp=made[-1].stamp._replace(final=False))
    for thing, state in party.things.items():
        was_read = thing.startswith(SUBSCRIPTION) and state.fact.is_read
        if was_read and thing not in listed and state.value["status"] not in ENDED:
            value = {"status": VOID}
            yield last._replace(thing=thing, value=value, after=VOID)


def newest_notice(party: Party) -> int:
    """When (ms) the newest event without content came; -1: there is none."""
    asked = party.things.get(TO_REFRESH)
    return asked.fact.stamp.at if asked else -1


def _answered(last: State | None) -> int:
    """The newest notice (ms) that the *last* refresh answers; -1: it answers none."""
    return int(last.value.get(TO_REFRESH, -1)) if last else -1
