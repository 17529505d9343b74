"""The job of a customer: makes the account in Vitally match the facts of its parties.

A job is only a key. It reads the newest facts of all parties of the account, under the
account's lease, whatever queued it. So a burst of events is one write, and a lost or
duplicate job does no harm. `AccountSync` follows these steps from top to bottom:

    1  take the lease of the account
    2  read the account once; refresh a party from its source if needed
    3  fold → document → change
    4  nothing differs: acknowledge; subscriptions as instances (`workers/objects.py`)
    5  wait for the account's pace and for a slot of the throttle
    6  mark what is about to be sent as unconfirmed
    7  PUT, on 404 POST, on "exists" PUT                       (`workers/write.py`)
    8  acknowledge, or do what follows Vitally's answer        (`workers/outcomes.py`)
    9  queue the parties whose jobs came in the meantime
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from time import monotonic
from typing import Any

from bridge.desired import (
    Desired,
    creation_refused,
    desired_state,
    has_work,
    instances_of,
    is_ending,
)
from bridge.domain.facts import organization_id
from bridge.domain.instance import digest_of
from bridge.errors import LostLeaseError, VitallyError
from bridge.guard import moves
from bridge.log import ABOUT, fields
from bridge.store.durations import WRITE
from bridge.store.lease import DRY_RUN_MS, home, incomplete
from bridge.store.shadow import Seen
from bridge.store.view import Outcome, View, Wait
from workers import outcomes
from workers.context import Context
from workers.objects import LOOK_MS, SOON_MS, ObjectSync
from workers.refresh import Refresh
from workers.write import SHORT_WAIT_MS, Held, Postponed, Write

log = logging.getLogger("workers.job")

TURNS = 5
"""How often a job may start again because its party moved or was refreshed."""

WORTH_A_LOOK_MS = 200
"""After a wait this long the facts are read again before the write."""

LEASED = Wait("waited", "another job has the account's lease")
BEING_READ = Wait("waited", "another job reads the party from its source")
NOT_DUE = Wait("waited", "the account's next try is not due yet")
NO_SLOT = Wait("waited", "no slot of the limit is free soon, or writes are stopped")
STOPPED = Wait("waited", "the worker stops")
WATCHED = Wait("waited", "a mass change would show itself now")
PACED = Wait("paced", "the account was written a moment ago")
LOST = Wait("retried", "the lease was lost")
RESTLESS = Wait("retried", f"it changed {TURNS} times while it was read")
UNCOUNTED = Wait("")


class AccountSync:
    """Does the jobs of customers."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.leases, self.queue = context.leases, context.queue
        self.objects = ObjectSync(context)
        self.noted: dict[str, Any] = {}
        """What the line about the current job says beside its outcome."""

    def run(self, party: str, other: Callable[[View], Outcome] | None = None) -> str:
        """Do the job of *party*; return the outcome's word. Raises redis' errors.

        *other* is the job of a party that is not a customer; it has the same lease.
        """
        began, account, word = monotonic(), "", ""
        ABOUT.set({})
        self.noted = {}
        self.context.requests.clear()
        refresh = Refresh(self.context, party)
        for _ in range(TURNS):
            view = self.leases.begin(party)  # 1, 2
            if view is None:
                word = self._wait(LEASED)
                break
            account = view.account
            if word := self._turn(view, refresh, other):
                break
        else:
            self.leases.postpone(party, 1000)
            word = self._wait(RESTLESS)
        ms = round((monotonic() - began) * 1000)
        statuses = [call.status for call in self.context.requests]
        line = fields(party=party, account=account or None, outcome=word, **self.noted)
        line["fields"] |= {"requests": len(statuses), "statuses": statuses, "ms": ms}
        log.info("job", extra=line | {"calls": [*self.context.requests]})
        ABOUT.set({})
        return word

    def _turn(
        self, view: View, refresh: Refresh, other: Callable[[View], Outcome] | None
    ) -> str:
        word = ""
        try:
            word = self._ack(view, other(view)) if other else self._job(view, refresh)
        except LostLeaseError:
            word = self._postpone(view, 0, LOST)
        finally:
            if not word:
                self._release(view)
        return word

    def _job(self, view: View, refresh: Refresh) -> str:
        """Do the job of an account; "" if it has to start again."""
        if reason := refresh.reason(view):
            self._release(view)
            if refresh.read(reason):
                return ""
            return self._wait(BEING_READ)
        account, why = home(view.own)
        if account != (view.account or None):
            moved = self.leases.move(view.own.name, account)
            self.queue.push_all(moved, "moved to another account")
            return ""
        if not view.account:
            word = self._ack(view, Outcome("held", "held", why))
        elif view.not_before > view.now and not self.context.settings.bridge_dry_run:
            word = self._postpone(view, view.not_before - view.now, NOT_DUE)
        else:
            word = self._settle(view)
        if refresh.later_ms:
            self.context.refreshes.appoint(view.own.name, refresh.later_ms)
        return word

    def _settle(self, view: View) -> str:
        """Acknowledge that nothing differs, or write what does."""
        desired = desired_state(view, self.context.config)  # 3
        if not has_work(view, desired):  # 4
            return self._unchanged(view, desired)
        if self.context.settings.bridge_dry_run:
            # Pending, until a worker starts that is to write.
            return self._postpone(view, DRY_RUN_MS, Wait("dry_run"), desired)
        guard, moved = self.context.guard, moves(view, desired, self.context.config)
        wait, why = guard.judge(view.account, moved) if moved else guard.below(view)
        if why:
            return self._ack(view, outcomes.held_for_a_word(view, why), desired)
        if wait:
            return self._postpone(view, wait, WATCHED)
        return self._take_turn(view, desired, moved)

    def _unchanged(self, view: View, desired: Desired) -> str:
        """Acknowledge; where subscriptions are instances, first make those right."""
        outcome = outcomes.unchanged(view, desired.document)
        shall = instances_of(view, desired.account, self.context.config)
        is_sent = shall is None or view.objects == digest_of(shall)
        wait = max(0, view.objects_due - view.now)
        if shall is None or (is_sent and (wait or not view.objects_due)):
            return self._ack(view, outcomes.soon(outcome, wait), desired)
        if self.context.settings.bridge_dry_run:
            return self._postpone(view, DRY_RUN_MS, Wait("dry_run"), desired)
        try:
            fields, wait = self.objects.run(view, shall)
        except Postponed as later:
            fields, wait = self.objects.later(view, later.args[0])
        except LostLeaseError:  # another worker's job looks first
            self.leases.postpone(view.own.name, LOOK_MS)
            return self._wait(LOST)
        except VitallyError as error:  # to a look
            fields, wait = self.objects.later(view, self._decide(view, error).delay_ms)
        done = outcomes.soon(outcome, wait)._replace(word="objects", fields=fields)
        return self._ack(view, done, desired)

    def _take_turn(self, view: View, desired: Desired, moved: Mapping[str, int]) -> str:
        """Write once the account's pace and the throttle allow it."""
        throttle = self.context.throttle
        pace = outcomes.pace_wait(view.pace, view.wrote_at, view.now)  # 5
        urgent = is_ending(view, desired, self.context.config)
        wait, slots = -pace, list[str]()
        if not pace:
            kind = "POST" if view.was_not_there else "PUT"
            wait, slots = throttle.reserve(SHORT_WAIT_MS, kind, urgent=urgent)
        if wait < 0:  # so far off that nobody waits for it here
            return self._postpone(view, -wait, PACED if pace else NO_SLOT)
        if not self._sleep(view, wait):
            throttle.give_back(slots)
            return self._postpone(view, 0, STOPPED)
        if wait > WORTH_A_LOOK_MS:
            view = self.leases.read_again(view.lease)
            desired = desired_state(view, self.context.config)
            if not has_work(view, desired):
                throttle.give_back(slots)
                return self._unchanged(view, desired)
            if moves(view, desired, self.context.config) != moved:  # not judged yet
                throttle.give_back(slots)
                return self._postpone(view, 0, WATCHED)
        return self._write(view, desired)

    def _write(self, view: View, desired: Desired) -> str:
        """Write, and confirm or do what follows a failure."""
        policy, config = self.context.settings.bridge_create, self.context.config
        refusal = creation_refused(policy, desired.account)
        doc, change = desired.document, desired.change
        self.noted["traits"] = sorted(change.traits)
        try:
            done = Write(self.context, view, doc, change, refusal).run()  # 6, 7
        except Held as held:
            return self._ack(view, outcomes.held(view, str(held)), desired)  # 8
        except Postponed as later:
            calls = self.context.requests
            noted = outcomes.not_sent(view, calls)
            if calls and calls[-1].status == HTTPStatus.NOT_FOUND:
                # The next try begins with the creation; else none might ever get there.
                noted["seen"] = Seen("", "", {}, missing=True).text(view.now)
            return self._postpone(view, later.args[0], NO_SLOT._replace(fields=noted))
        except VitallyError as error:
            return self._failed(view, error, desired)
        self.noted["traits"] = sorted(done.change.traits)
        outcome = outcomes.written(view, doc, done)
        is_on = config.subscription_object and not organization_id(view.account)
        if is_on and (doc.traits or view.objects):
            many = len(desired.account.subscriptions) if desired.account else 0
            outcome = outcomes.soon(outcome, SOON_MS + many)
            due = str(view.objects_due or view.now + SOON_MS + many)
            outcome = outcome._replace(fields={**outcome.fields, "objects_due": due})
        return self._ack(view, outcome, desired)

    def _failed(self, view: View, error: VitallyError, desired: Desired) -> str:
        """Do what follows Vitally's answer to a write."""
        decision = self._decide(view, error)
        if decision.park is not None:
            refused = outcomes.refused(view, desired.change, error)
            word = self._ack(view, decision.park._replace(history=refused), desired)
            self.noted["why"] = error.brief
            return word
        word = "waited" if decision.word == "limited" else "retried"
        wait = Wait(word, error.brief, decision.fields)
        return self._postpone(view, decision.delay_ms, wait, desired)

    def _decide(self, view: View, error: VitallyError) -> outcomes.Decision:
        """What follows Vitally's answer; after a 429 or a refused key all workers wait."""
        chance, calls = self.context.chance(), self.context.requests
        decision = outcomes.failed(error, view, chance, calls)
        answer = {"status": error.status, "reason": error.brief}
        line = fields(account=view.account, **answer, next=decision.word)
        log.warning("write", extra=line)
        if decision.word == "limited":
            self.context.throttle.pause(decision.delay_ms)
        if decision.word == "retry":
            self.context.outage.note(error.brief, view.now, decision.delay_ms)
        if decision.breaker:
            self.context.stop_writes(decision.breaker)
        return decision

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
        if outcome.why:
            self.noted["why"] = outcome.why
        took = round((monotonic() - self.leases.since) * 1000)
        row = desired.row(view) if desired else None
        if desired and outcome.to == "settled":
            noted = {**outcome.fields, "rules": self.context.rules}
            outcome = outcome._replace(fields=noted)
        if desired:
            outcome = outcome._replace(joins=desired.joins(view))
        if outcome.history:
            replies = [f"{call.method} {call.status}" for call in self.context.requests]
            history = {**outcome.history, "replies": replies}
            outcome = outcome._replace(history=history)
        for claim in self.leases.ack(view, outcome, row):
            if claim.party == view.own.name and took > outcomes.LONG_MS:
                rest = outcomes.rest(took, int(outcome.fields.get("pace", 0)))
                self.leases.postpone(claim.party, rest, wait=UNCOUNTED)
            else:
                self.queue.push(claim, "newer facts")
        if outcome.writes and view.dirty_since:
            since_read = monotonic() - self.leases.read_at
            waited = (view.now - view.dirty_since) / 1000 + since_read
            self.context.durations.add(WRITE, waited)
        return outcome.word

    def _postpone(
        self, view: View, delay_ms: int, wait: Wait, desired: Desired | None = None
    ) -> str:
        if desired:
            wait = wait._replace(
                row=desired.row(view),
                unknown=desired.document.unknown,
                members={m.name: incomplete(m) for m in view.members},
                joins=desired.joins(view),
            )
        claims = self.leases.postpone(view.own.name, delay_ms, view.lease, wait)
        self.queue.push_all(claims, "came meanwhile")  # 9
        return self._wait(wait)

    def _wait(self, wait: Wait) -> str:
        """Note why the job was not done now; return its word."""
        if wait.why:
            self.noted["why"] = wait.why
        return wait.word

    def _release(self, view: View) -> None:
        """Give the lease back without an outcome."""
        self.queue.push_all(self.leases.release(view.lease), "came meanwhile")
