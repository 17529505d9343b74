"""Make an account in Vitally what the facts of its parties say: the story of a job.

A job is a key. Whatever queued it, it reads the newest facts of all parties of the
account under the account's lease; so a burst is one write, and a lost or doubled job
is harmless. `AccountSync` tells it top to bottom:

    1  take the lease of the account
    2  read the account once; refresh a party from its source where that is needed
    3  fold → document → change
    4  nothing differs: acknowledge
    5  wait for the account's pace and for a slot of the throttle
    6  mark what is about to be sent as unconfirmed
    7  PUT, on 404 POST, on "exists" PUT                          (`workers/write.py`)
    8  acknowledge, or decide by the retry table                  (`workers/retry.py`)
    9  queue the parties that came meanwhile
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from bridge.config import Config
from bridge.domain.account import Account, unite
from bridge.domain.document import (
    Change,
    Document,
    difference,
    document,
    keyed,
    removal,
    whole,
)
from bridge.errors import LostLeaseError, VitallyError
from bridge.log import fields
from bridge.queue import Queue
from bridge.settings import Settings
from bridge.store.lease import Leases, home
from bridge.store.operator import Breaker
from bridge.store.view import Lease, Outcome, View
from workers import outcome as outcomes
from workers import retry
from workers.heartbeat import HeldLease
from workers.refresh import Refresh
from workers.throttle import SHORT_WAIT_MS, Throttle
from workers.write import Held, Plan, Postponed, Writer

log = logging.getLogger("workers.job")

TURNS = 5
"""How often a job begins again because its party moved or was refreshed."""

WORTH_A_LOOK_MS = 200
"""After a wait this long the facts are read again before the write."""


class Desired(NamedTuple):
    """The account (None: its last party has left it), its document and the change."""

    account: Account | None
    document: Document
    change: Change


@dataclass(slots=True)
class Refreshing:
    """What a job has done about its party's source: it is asked once a job."""

    done: bool = False
    later_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSync:
    """Does the jobs of customers; everything it needs was given to it."""

    leases: Leases
    queue: Queue
    breaker: Breaker
    throttle: Throttle
    writer: Writer
    settings: Settings
    config: Config
    refresh: Refresh
    stop: threading.Event
    chance: Callable[[], float]
    held: HeldLease

    def run(self, party: str) -> str:
        """Do the job of *party*; return the outcome's word. Raises redis' errors."""
        began = monotonic()
        word, account = self._run(party)
        log.info(
            "job",
            extra=fields(
                party=party,
                account=account or None,
                outcome=word,
                ms=round((monotonic() - began) * 1000),
            ),
        )
        return word

    def _run(self, party: str) -> tuple[str, str]:
        account, refreshing = "", Refreshing()
        for _ in range(TURNS):
            view = self.leases.begin(party)  # 1, 2
            if view is None:
                return "retried", account
            account = view.account
            word = self._with_lease(view, refreshing)
            if word:
                return word, account
        self.queue.push_all(self.leases.postpone(party, 1000), "")
        return "retried", account

    def _with_lease(self, view: View, refreshing: Refreshing) -> str:
        """Do the job; '' where it has to begin again. An outcome gave the lease back."""
        self.held.take(view.lease)
        word = ""
        try:
            word = self._job(view, refreshing)
        except LostLeaseError:
            word = self._postpone(view, 0)
        finally:
            self.held.drop()
            if not word:
                self.queue.push_all(self.leases.release(view.lease), "came meanwhile")
        return word

    def _job(self, view: View, refreshing: Refreshing) -> str:
        own = view.own
        if not refreshing.done:
            due = self.refresh.due(own, view)
            refreshing.done, refreshing.later_ms = True, due.later_ms
            if due.reason:
                self.queue.push_all(self.leases.release(view.lease), "came meanwhile")
                later = self.refresh.party(own, due.reason)
                refreshing.later_ms = later or 0
                return "retried" if later is None else ""
        account, reason = home(own)
        if account != (view.account or None):
            moved = self.leases.move(own.name, account)
            self.queue.push_all(moved, "moved to another account")
            return ""
        if view.lease is None:
            word = self._ack(view, Outcome("held", "held", reason))
        elif view.not_before > view.now:
            word = self._postpone(view, view.not_before - view.now)
        else:
            word = self._settle(view.lease, view)
        if refreshing.later_ms:
            self.refresh.appoint(own.name, refreshing.later_ms)
        return word

    def _settle(self, lease: Lease, view: View) -> str:
        """Acknowledge that nothing differs, or write what does."""
        desired = desired_state(view, self.config)  # 3
        if not has_work(view, desired):  # 4
            return self._ack(view, outcomes.unchanged(view, desired.document))
        if self.settings.bridge_dry_run:
            return self._ack(view, outcomes.dry(view, desired.change))
        wait, slot = self._slot(view)  # 5
        if wait < 0:
            return self._postpone(view, -wait)
        if not self._sleep(lease, wait):
            self.throttle.give_back(slot)
            return self._postpone(view, 0)
        if wait > WORTH_A_LOOK_MS:
            view = self.leases.read_again(lease)
            desired = desired_state(view, self.config)
            if not has_work(view, desired):
                self.throttle.give_back(slot)
                return self._ack(view, outcomes.unchanged(view, desired.document))
        return self._write(lease, view, desired)

    def _slot(self, view: View) -> tuple[int, str]:
        """Reserve a slot: (ms to wait, slot); negative: so far off that nobody waits."""
        pace = retry.pace_wait(view.pace, view.wrote_at, view.now)
        return (-pace, "") if pace else self.throttle.reserve(SHORT_WAIT_MS)

    def _write(self, lease: Lease, view: View, desired: Desired) -> str:
        """Write, and confirm or decide what a failure leads to."""
        policy = self.settings.bridge_create
        refusal = outcomes.creation_refused(policy, desired.account)
        plan = Plan(lease, view, desired.document, desired.change, refusal)
        try:
            done = self.writer.write(plan)  # 6, 7
        except Held as held:
            return self._ack(view, outcomes.held(view, held.reason))
        except Postponed as later:
            return self._postpone(view, later.delay_ms, outcomes.not_sent(view))
        except VitallyError as error:
            return self._failed(view, error)
        return self._ack(view, outcomes.written(view, desired.document, done))

    def _failed(self, view: View, error: VitallyError) -> str:
        """Decide by the retry table, and let everybody wait where it is not ours."""
        decision = outcomes.failed(error, view, self.chance())
        log.warning(
            "write",
            extra=fields(
                account=view.account,
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
            return self._ack(view, decision.park)
        return self._postpone(view, decision.delay_ms, dict(decision.fields))

    def _sleep(self, lease: Lease, wait_ms: int) -> bool:
        """Sleep with the lease held; False: the worker is to stop."""
        end = monotonic() + wait_ms / 1000
        while (left := end - monotonic()) > 0:
            if self.stop.wait(min(left, 2.0)):
                return False
            self.leases.renew(lease)
        return True

    def _ack(self, view: View, outcome: Outcome) -> str:  # 8
        """Confirm; a large account that has newer facts waits behind the others."""
        took = round((monotonic() - self.held.since) * 1000)
        for party, claim in self.leases.ack(view, outcome):
            if party == view.own.name and took > retry.LONG_MS:
                rest = retry.rest(took, int(outcome.fields.get("pace", 0)))
                self.queue.push_all(self.leases.postpone(party, rest), "")
            else:
                self.queue.push(party, claim, "newer facts")
        return outcome.word

    def _postpone(
        self, view: View, delay_ms: int, noted: dict[str, str] | None = None
    ) -> str:
        claims = self.leases.postpone(view.own.name, delay_ms, view.lease, noted)
        self.queue.push_all(claims, "came meanwhile")  # 9
        return "retried"


def desired_state(view: View, config: Config) -> Desired:
    """Fold what was read of an account, under the keys that `bridge.toml` gives."""
    if not view.parties:
        doc = removal(view.ledger, view.unconfirmed_traits)
        return Desired(None, doc, _change(view, doc))
    account = unite(view.account, view.parties, view.now)
    doc = document(account, config.policy, view.now)
    doc = keyed(doc, config.traits, view.ledger, view.unconfirmed_traits)
    return Desired(account, doc, _change(view, doc))


def has_work(view: View, desired: Desired) -> bool:
    """Whether there is anything to write; a deletion alone makes no account."""
    if view.exists or view.unconfirmed_writes:
        return view.owes_whole or not desired.change.is_empty
    return desired.account is not None and not desired.account.deleted_only


def _change(view: View, doc: Document) -> Change:
    if view.owes_whole:
        return whole(doc, view.ledger)
    # What an unconfirmed write carried may be there, whatever the ledger says.
    known = {
        k: v for k, v in view.ledger.traits.items() if k not in view.unconfirmed_traits
    }
    return difference(doc, view.ledger._replace(traits=known))
