"""One idempotent path: bring an account in Vitally up to what its facts say.

A job is a key. Whatever queued it, it reads the newest facts of all parties of the
account under the account's lease, writes what differs, and confirms the outcome;
so a burst is one write, and a lost or doubled job is harmless.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from bridge.config import Config
from bridge.domain.facts import CATALOGUE, POINTER
from bridge.errors import LostLeaseError, VitallyError
from bridge.log import fields
from bridge.queue import Queue
from bridge.settings import Settings
from bridge.store.breaker import Breaker
from bridge.store.lease import Claims, Leases
from bridge.store.view import VACATED, Lease, Member, Outcome, View, home
from workers import outcome as outcomes
from workers import retry
from workers.errands import Errands
from workers.heart import Hand
from workers.reread import Rereads
from workers.target import Target, aim, has_work
from workers.throttle import Throttle
from workers.writer import SHORT_WAIT_MS, Held, Plan, Postponed, Writer

log = logging.getLogger("workers.job")

TURNS = 5
"""How often a job starts again because its account changed under it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where a worker does its jobs; everything it needs was given to it."""

    leases: Leases
    queue: Queue
    breaker: Breaker
    throttle: Throttle
    writer: Writer
    settings: Settings
    config: Config
    rereads: Rereads
    errands: Errands
    stop: threading.Event
    chance: Callable[[], float]
    hand: Hand

    def run(self, party: str) -> str:
        """Do the job of *party*; return the outcome's word. Raises redis' errors."""
        began = monotonic()
        word, account = self._run(party)
        log.info(
            "job",
            extra=fields(
                party=party,
                account=account,
                outcome=word,
                ms=round((monotonic() - began) * 1000),
            ),
        )
        return word

    def _run(self, party: str) -> tuple[str, str | None]:
        looked = self.rereads.look(self.leases.members([party])[0])
        if looked.busy:
            return "retried", None
        word, account = self._settle(looked.member)
        if looked.later_ms:
            self.rereads.reads.appoint(party, looked.later_ms)
        return word, account

    def _settle(self, member: Member) -> tuple[str, str | None]:
        account: str | None = None
        party = member.name
        for turn in range(TURNS):
            if turn:
                member = self.leases.members([party])[0]
            account, reason = home(member)
            if account != member.account and not party.startswith(VACATED):
                self._push(self.leases.move(party, account), "moved to another account")
            if account is None:
                self._push(self.leases.hold(member, reason), "newer facts")
                return "held", None
            lease = self.leases.take(account, party)
            if lease is None:
                return "retried", account
            word = self._with(lease, member)
            if word:
                return word, account
        self._push(self.leases.postpone(party, 1000), "")
        return "retried", account

    def _with(self, lease: Lease, member: Member) -> str:
        """Do the job with the lease in hand; an outcome has given it back."""
        self.hand.take(lease)
        word = ""
        try:
            word = self._leased(lease, member)
        except LostLeaseError:
            word = self._postpone(lease, 0)
        finally:
            self.hand.drop()
            if not word:
                self._push(self.leases.leave(lease), "came meanwhile")
        return word

    def _leased(self, lease: Lease, member: Member) -> str:
        """The job under the lease; '' where the party belongs elsewhere by now."""
        view = self.leases.view(lease, member)
        own = next((m for m in view.members if m.name == lease.party), None)
        if own is None or home(own)[0] != lease.account:
            return ""
        if lease.party.startswith((CATALOGUE, POINTER)):
            return self._ack(lease, view, self.errands.run(view, lease.party))
        if view.not_before > view.now:
            return self._postpone(lease, view.not_before - view.now)
        return self._difference(lease, view)

    def _difference(self, lease: Lease, view: View) -> str:
        """Confirm that nothing differs, or write what does."""
        target = aim(view, self.config)
        if not has_work(view, target):
            return self._ack(lease, view, outcomes.unchanged(view, target.document))
        if self.settings.bridge_dry_run:
            return self._ack(lease, view, outcomes.dry(view, target.change))
        wait = retry.pace_wait(view.pace, view.wrote_at, view.now)
        if wait:
            return self._postpone(lease, wait)
        return self._write(lease, view, target)

    def _write(self, lease: Lease, view: View, target: Target) -> str:
        """Wait for a slot; after a wait worth the name look once more; then write."""
        wait, slot = self.throttle.reserve(SHORT_WAIT_MS)
        if wait < 0:
            return self._postpone(lease, -wait)
        if not self._sleep(lease, wait):
            self.throttle.give_back(slot)
            return self._postpone(lease, 0)
        if wait > outcomes.WORTH_A_LOOK_MS:
            own = next(m for m in view.members if m.name == lease.party)
            view = self.leases.view(lease, own)
            target = aim(view, self.config)
            if not has_work(view, target):
                self.throttle.give_back(slot)
                return self._ack(lease, view, outcomes.unchanged(view, target.document))
        return self._send(lease, view, target)

    def _send(self, lease: Lease, view: View, target: Target) -> str:
        """Write, and confirm or decide what a failure leads to."""
        try:
            done = self.writer.write(self._plan(lease, view, target))
        except Held as held:
            return self._ack(lease, view, outcomes.held(view, held.reason))
        except Postponed as later:
            undone = {"doubt": str(view.doubt)}
            return self._postpone(lease, later.delay_ms, undone)
        except VitallyError as error:
            return self._failed(lease, view, error)
        return self._ack(lease, view, outcomes.written(view, target.document, done))

    def _failed(self, lease: Lease, view: View, error: VitallyError) -> str:
        """Decide by the retry table, and let everybody wait where it is not ours."""
        decision = outcomes.failed(error, view, self.chance())
        log.warning(
            "write",
            extra=fields(
                account=lease.account,
                status=error.status,
                reason=error.reason,
                next=decision.word,
            ),
        )
        if decision.pause_ms:
            self.throttle.pause(decision.pause_ms)
        if decision.breaker and self.breaker.open(decision.breaker):
            log.error("writes stopped", extra=fields(reason=decision.breaker))
        if decision.park is not None:
            return self._ack(lease, view, decision.park)
        return self._postpone(lease, decision.delay_ms, dict(decision.fields))

    def _plan(self, lease: Lease, view: View, target: Target) -> Plan:
        refusal = outcomes.creation_refused(self.settings.bridge_create, target.account)
        return Plan(lease, view, target.document, target.change, refusal)

    def _sleep(self, lease: Lease, wait_ms: int) -> bool:
        """Sleep with the lease in hand; False: the worker is to stop."""
        end = monotonic() + wait_ms / 1000
        while (left := end - monotonic()) > 0:
            if self.stop.wait(min(left, 2.0)):
                return False
            self.leases.keep(lease)
        return True

    def _ack(self, lease: Lease, view: View, outcome: Outcome) -> str:
        """Confirm; a large account that has newer facts waits behind the others."""
        took = round((monotonic() - self.hand.since) * 1000)
        for party, claim in self.leases.ack(lease, view, outcome):
            if party == lease.party and took > retry.LONG_MS:
                rest = retry.rest(took, int(outcome.fields.get("pace", 0)))
                self._push(self.leases.postpone(party, rest), "")
            else:
                self.queue.push(party, claim, "newer facts")
        return outcome.word

    def _postpone(
        self, lease: Lease, delay_ms: int, noted: dict[str, str] | None = None
    ) -> str:
        claims = self.leases.postpone(lease.party, delay_ms, lease, noted)
        self._push(claims, "came meanwhile")
        return "retried"

    def _push(self, claims: Claims, cause: str) -> None:
        self.queue.push_all(claims, cause)
