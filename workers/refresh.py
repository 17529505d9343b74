"""Refreshes a party from its source's API if its events contain too little.

This happens at most once per party and batch of events, under the party's own lease. If
it fails, the job uses what is known, and the refresh is tried again later.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from bridge.domain.facts import Fact, Rank, source_of
from bridge.domain.refresh import newest_notice, refresh_early_by, why_refresh
from bridge.domain.values import ENDED, REFRESHED, SUBSCRIPTION, TO_REFRESH, VOID
from bridge.errors import LostLeaseError, SourceError
from bridge.log import fields
from bridge.store.lease import own_account
from bridge.store.view import Member, View
from workers import outcomes
from workers.context import Context

log = logging.getLogger("workers.refresh")

CROWDED_MS = 1000
"""Wait while the limit of parties read from a source per second is reached."""

SECOND_MS = 1000
"""Wait for a second to end that was not over when something was read."""


class Refresh:
    """One job's refresh of its *party*: it happens once, whatever the result.

    *later_ms*: when the party needs another job (ms from now); 0: only with an event.
    """

    def __init__(self, context: Context, party: str) -> None:
        self.context, self.party = context, party
        self.source = source_of(party)
        self.is_done = False
        self.later_ms = 0

    def reason(self, view: View) -> str | None:
        """Why the party must be read now; None: it need not, or was read in this job."""
        if self.is_done:
            return None
        self.is_done = True
        if self.source not in self.context.apis or own_account(self.party) is not None:
            return None
        policy, refreshes = self.context.config.policy, self.context.refreshes
        reason = why_refresh(view.own.party(view.catalogues), policy, view.now)
        if reason is not None:
            self.later_ms = refreshes.wait(self.party)
            if not self.later_ms and not refreshes.may(self.source):
                self.later_ms = CROWDED_MS
        return None if self.later_ms else reason

    def read(self, reason: str) -> bool:
        """Read the party from its source; False: another worker is doing so."""
        leases, refreshes = self.context.leases, self.context.refreshes
        lease = leases.take(self.party, self.party)
        if lease is None:
            return False
        log.info("read", extra=fields(party=self.party, reason=reason))
        try:
            facts = self._facts()
            # Facts that came since the first read may include another refresh.
            (member,) = leases.members([self.party])
            refreshes.learn(lease, restamped(facts, member))
        except SourceError as error:
            self.later_ms = outcomes.after_refresh(error)
            refreshes.failed(self.party, self.later_ms)
            level = logging.ERROR if error.refused else logging.WARNING
            log.log(level, "read", extra=fields(party=self.party, reason=error.reason))
            return True
        except LostLeaseError:
            return False
        finally:
            self.context.queue.push_all(leases.release(lease), "came meanwhile")
        (member,) = leases.members([self.party])
        late = refresh_early_by(member.party({}))
        self.later_ms = late + SECOND_MS if late else 0
        return True

    def _facts(self) -> Sequence[Fact]:
        facts = self.context.apis[self.source].party(self.party)
        if not facts:
            raise SourceError("its source does not know it", refused=True)
        return facts


def restamped(facts: Sequence[Fact], member: Member) -> list[Fact]:
    """The *facts* of a refresh, stamped later than all refreshes before it.

    HTTP's clock has whole seconds. Two refreshes in one second are ordered by
    milliseconds, which no event of the source uses. A final end that was known before is
    part of the refresh.
    """
    before = member.things.get(REFRESHED)
    last = before.fact.stamp.at if before else 0
    made: list[Fact] = []
    for fact in facts:
        known = member.things.get(fact.thing)
        has_ended = fact.stamp.final and known and known.fact.stamp.final
        ended = known.fact.stamp.at if known and has_ended else 0
        at = max(fact.stamp.at, last + 1, ended)
        value = fact.value
        if fact.thing == REFRESHED:
            # Events after the instant of the refresh may not be in it.
            value = {**value, TO_REFRESH: min(newest_notice(member.party({})), at)}
        stamp = fact.stamp._replace(at=at)
        made.append(fact._replace(stamp=stamp, event=f"read:{at}", value=value))
    return [*made, *_missing(made, member)]


def _missing(made: Sequence[Fact], member: Member) -> Iterator[Fact]:
    """Void the subscriptions that an earlier refresh returned and this one does not.

    If a subscription now belongs to another customer, the API does not say more.
    """
    if any("into" in fact.value for fact in made):
        return
    listed = {fact.thing for fact in made}
    stamp = made[0].stamp._replace(final=False)
    for thing, state in member.things.items():
        was_read = (
            thing.startswith(SUBSCRIPTION) and state.fact.stamp.rank == Rank.FROM_API
        )
        if was_read and thing not in listed and state.value["status"] not in ENDED:
            value = {"status": VOID}
            yield made[0]._replace(thing=thing, stamp=stamp, value=value, after=VOID)
