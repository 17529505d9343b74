"""Refreshing a party from its source's API where its events do not tell enough.

At most once for a party and batch of events, under a lease of the party's own; a
failure falls back to what is known and is tried again later.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.domain.facts import Fact, Rank, source_of
from bridge.domain.policy import Policy
from bridge.domain.refresh import newest_notice, refresh_early_by, why_refresh
from bridge.domain.values import ENDED, REFRESHED, SUBSCRIPTION, TO_REFRESH, VOID
from bridge.errors import LostLeaseError, SourceError
from bridge.log import fields
from bridge.queue import Queue
from bridge.store.lease import Leases, own_account
from bridge.store.refresh import Refreshes
from bridge.store.view import Member, View
from bridge.webhook.source import SourceApi
from workers import retry
from workers.heartbeat import HeldLease

log = logging.getLogger("workers.refresh")


class Due(NamedTuple):
    """Whether a party has to be read: at once for a *reason*, or in *later_ms*."""

    reason: str | None = None
    later_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """Reads parties of the sources whose API may be read."""

    leases: Leases
    refreshes: Refreshes
    queue: Queue
    held: HeldLease
    policy: Policy
    apis: Mapping[str, SourceApi] = field(default_factory=dict)

    def due(self, member: Member, view: View) -> Due:
        """Say whether *member* has to be read from its source."""
        source = source_of(member.name)
        if source not in self.apis or own_account(member.name) is not None:
            return Due()
        reason = why_refresh(member.party(view.catalogues), self.policy, view.now)
        if reason is None:
            return Due()
        wait = self.refreshes.wait(member.name)
        if not wait and not self.refreshes.may(source):
            wait = retry.CROWDED_MS
        return Due(later_ms=wait) if wait else Due(reason)

    def appoint(self, party: str, later_ms: int) -> None:
        """Have *party* looked at again in *later_ms* at the latest."""
        self.refreshes.appoint(party, later_ms)

    def party(self, member: Member, reason: str) -> int | None:
        """Read *member* from its source; None: another worker does so just now.

        Return the milliseconds after which a refresh that failed is to be tried again.
        """
        lease = self.leases.take(member.name, member.name)
        if lease is None:
            return None
        log.info("read", extra=fields(party=member.name, reason=reason))
        self.held.take(lease)
        try:
            api = self.apis[source_of(member.name)]
            # What came since it was read before may tell of an earlier refresh.
            (now,) = self.leases.members([member.name])
            self.refreshes.learn(lease, restamped(_known(api, now), now))
        except SourceError as error:
            delay = retry.after_refresh(error.retry_after, refused=error.refused)
            self.refreshes.failed(member.name, delay)
            level = logging.ERROR if error.refused else logging.WARNING
            log.log(level, "read", extra=fields(party=member.name, reason=error.reason))
            return delay
        except LostLeaseError:
            return None
        finally:
            self.held.drop()
            self.queue.push_all(self.leases.release(lease), "came meanwhile")
        (now,) = self.leases.members([member.name])
        late = refresh_early_by(now.party({}))
        return late + retry.SECOND_MS if late else 0


def _known(api: SourceApi, member: Member) -> Sequence[Fact]:
    facts = api.party(member.name)
    if not facts:
        raise SourceError("its source does not know it", refused=True)
    return facts


def restamped(facts: Sequence[Fact], member: Member) -> list[Fact]:
    """The *facts* of a refresh, later than those of all refreshes before it.

    The clock of HTTP has whole seconds; two refreshes within one are ordered by the
    milliseconds that no event of the source uses. An end for ever that was known before
    is in the refresh.
    """
    before = member.things.get(REFRESHED)
    last = before.fact.stamp.at if before else 0
    made: list[Fact] = []
    for fact in facts:
        at = max(fact.stamp.at, last + 1, _ended(fact, member))
        value = fact.value
        if fact.thing == REFRESHED:
            # What came after the instant of the refresh may not be in it.
            value = {**value, TO_REFRESH: min(newest_notice(member.party({})), at)}
        stamp = fact.stamp._replace(at=at)
        made.append(fact._replace(stamp=stamp, event=f"read:{at}", value=value))
    return [*made, *_missing(made, member)]


def _ended(fact: Fact, member: Member) -> int:
    """When the thing of a final *fact* was known to have ended (ms); 0: it was not."""
    state = member.things.get(fact.thing)
    is_known = state is not None and state.fact.stamp.final
    return state.fact.stamp.at if state and is_known and fact.stamp.final else 0


def _missing(made: Sequence[Fact], member: Member) -> Iterator[Fact]:
    """Void the subscriptions that an earlier refresh told, and this one does not.

    Of one that became another's the API tells no more than that.
    """
    if any("into" in fact.value for fact in made):
        return
    told = {fact.thing for fact in made}
    stamp = made[0].stamp._replace(final=False)
    for thing, state in member.things.items():
        was_read = (
            thing.startswith(SUBSCRIPTION) and state.fact.stamp.rank == Rank.FROM_API
        )
        if was_read and thing not in told and state.value["status"] not in ENDED:
            value = {"status": VOID}
            yield made[0]._replace(thing=thing, stamp=stamp, value=value, after=VOID)
