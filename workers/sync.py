"""The job of a customer: makes the account in Vitally match the facts of its parties.

A job is only a key. It reads the newest facts of all parties of the account, under the
account's lease, whatever queued it. So a burst of events is one write, and a lost or
duplicate job does no harm. `AccountSync` follows these steps from top to bottom:

    1  take the lease of the account
    2  read the account once; refresh a party from its source if needed
    3  fold → document → change
    4  nothing differs: acknowledge
    5  wait for the account's pace and for a slot of the throttle
    6  mark what is about to be sent as unconfirmed
    7  PUT, on 404 POST, on "exists" PUT                       (`workers/write.py`)
    8  acknowledge, or do what follows Vitally's answer        (`workers/outcomes.py`)
    9  queue the parties whose jobs came in the meantime
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from time import monotonic

from bridge.desired import Desired, desired_state, has_work, is_ending
from bridge.errors import LostLeaseError, VitallyError
from bridge.log import ABOUT, fields
from bridge.store.lease import DRY_RUN_MS, home
from bridge.store.view import Outcome, View
from workers import outcomes
from workers.context import Context
from workers.refresh import Refresh
from workers.write import SHORT_WAIT_MS, Held, Postponed, Write

log = logging.getLogger("workers.job")

TURNS = 5
"""How often a job may start again because its party moved or was refreshed."""

WORTH_A_LOOK_MS = 200
"""After a wait this long the facts are read again before the write."""


class AccountSync:
    """Does the jobs of customers."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.leases, self.queue = context.leases, context.queue

    def run(self, party: str, other: Callable[[View], Outcome] | None = None) -> str:
        """Do the job of *party*; return the outcome's word. Raises redis' errors.

        *other* is the job of a party that is not a customer; it has the same lease.
        """
        began, account, word = monotonic(), "", ""
        ABOUT.set({})
        refresh = Refresh(self.context, party)
        for _ in range(TURNS):
            view = self.leases.begin(party)  # 1, 2
            if view is None:
                word = "retried"
                break
            account = view.account
            # Left as it is by an exception, for the line about that.
            ABOUT.set({"deliveries": view.deliveries} if view.deliveries else {})
            try:
                if other is None:
                    word = self._job(view, refresh)
                else:
                    word = self._ack(view, other(view))
            except LostLeaseError:
                word = self._postpone(view, 0)
            finally:
                if not word:
                    self._release(view)
            if word:
                break
        else:
            self.leases.postpone(party, 1000)
            word = "retried"
        ms = round((monotonic() - began) * 1000)
        line = fields(party=party, account=account or None, outcome=word, ms=ms)
        log.info("job", extra=line)
        ABOUT.set({})
        return word

    def _job(self, view: View, refresh: Refresh) -> str:
        """Do the job of an account; "" if it has to start again."""
        if reason := refresh.reason(view):
            self._release(view)
            return "" if refresh.read(reason) else "retried"
        account, why = home(view.own)
        if account != (view.account or None):
            moved = self.leases.move(view.own.name, account)
            self.queue.push_all(moved, "moved to another account")
            return ""
        if not view.account:
            word = self._ack(view, Outcome("held", "held", why))
        elif view.not_before > view.now:
            word = self._postpone(view, view.not_before - view.now)
        else:
            word = self._settle(view)
        if refresh.later_ms:
            self.context.refreshes.appoint(view.own.name, refresh.later_ms)
        return word

    def _settle(self, view: View) -> str:
        """Acknowledge that nothing differs, or write what does."""
        throttle = self.context.throttle
        desired = desired_state(view, self.context.config)  # 3
        if not has_work(view, desired):  # 4
            return self._ack(view, outcomes.unchanged(view, desired.document), desired)
        if self.context.settings.bridge_dry_run:
            # Pending, until a worker starts that is to write.
            self._postpone(view, DRY_RUN_MS, desired=desired)
            return "dry run"
        pace = outcomes.pace_wait(view.pace, view.wrote_at, view.now)  # 5
        urgent = is_ending(view, desired, self.context.config)
        wait, slot = -pace, ""
        if not pace:
            wait, slot = throttle.reserve(SHORT_WAIT_MS, urgent=urgent)
        if wait < 0:  # so far off that nobody waits for it here
            return self._postpone(view, -wait)
        if not self._sleep(view, wait):
            throttle.give_back(slot)
            return self._postpone(view, 0)
        if wait > WORTH_A_LOOK_MS:
            view = self.leases.read_again(view.lease)
            desired = desired_state(view, self.context.config)
            if not has_work(view, desired):
                throttle.give_back(slot)
                return self._ack(
                    view, outcomes.unchanged(view, desired.document), desired
                )
        return self._write(view, desired)

    def _write(self, view: View, desired: Desired) -> str:
        """Write, and confirm or do what follows a failure."""
        policy = self.context.settings.bridge_create
        refusal = outcomes.creation_refused(policy, desired.account)
        doc, change = desired.document, desired.change
        try:
            done = Write(self.context, view, doc, change, refusal).run()  # 6, 7
        except Held as held:
            return self._ack(view, outcomes.held(view, held.reason), desired)  # 8
        except Postponed as later:
            return self._postpone(view, later.delay_ms, outcomes.not_sent(view))
        except VitallyError as error:
            return self._failed(view, error, desired)
        return self._ack(view, outcomes.written(view, doc, done), desired)

    def _failed(self, view: View, error: VitallyError, desired: Desired) -> str:
        """Do what follows Vitally's answer; after a 429 or a refused key all workers wait."""
        decision = outcomes.failed(error, view, self.context.chance())
        answer = {"status": error.status, "reason": error.reason}
        line = fields(account=view.account, **answer, next=decision.word)
        log.warning("write", extra=line)
        if decision.word == "limited":
            self.context.throttle.pause(decision.delay_ms)
        if decision.breaker and self.context.breaker.open(decision.breaker):
            log.error("writes stopped", extra=fields(reason=decision.breaker))
        if decision.park is not None:
            return self._ack(view, decision.park, desired)
        return self._postpone(view, decision.delay_ms, decision.fields, desired)

    def _sleep(self, view: View, wait_ms: int) -> bool:
        """Sleep and keep the lease; False: the worker must stop."""
        end = monotonic() + wait_ms / 1000
        while (left := end - monotonic()) > 0:
            if self.context.stop.wait(min(left, 2.0)):
                return False
            self.leases.renew(view.lease)
        return True

    def _ack(self, view: View, outcome: Outcome, desired: Desired | None = None) -> str:
        """Acknowledge; a large account with newer facts waits behind the others."""
        took = round((monotonic() - self.leases.since) * 1000)
        row = desired.row(view) if desired else None
        for claim in self.leases.ack(view, outcome, row):
            if claim.party == view.own.name and took > outcomes.LONG_MS:
                rest = outcomes.rest(took, int(outcome.fields.get("pace", 0)))
                self.leases.postpone(claim.party, rest)
            else:
                self.queue.push(claim, "newer facts")
        return outcome.word

    def _postpone(
        self,
        view: View,
        delay_ms: int,
        noted: Mapping[str, str] | None = None,
        desired: Desired | None = None,
    ) -> str:
        row = desired.row(view) if desired else ""
        claims = self.leases.postpone(view.own.name, delay_ms, view.lease, noted, row)
        self.queue.push_all(claims, "came meanwhile")  # 9
        return "retried"

    def _release(self, view: View) -> None:
        """Give the lease back without an outcome."""
        self.queue.push_all(self.leases.release(view.lease), "came meanwhile")
