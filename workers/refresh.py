"""Refreshes a party from its source's API if its events contain too little.

This happens at most once per party and batch of events, under the party's own lease. If
it fails, the job uses what is known, and the refresh is tried again later.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bridge.domain.facts import Fact, source_of
from bridge.domain.refresh import refresh_early_by, restamped, why_refresh
from bridge.errors import LostLeaseError, SourceError
from bridge.log import fields
from bridge.store.lease import own_account
from bridge.store.view import View
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
            refreshes.learn(lease, restamped(facts, member.party({})))
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
