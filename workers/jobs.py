"""The jobs by their names in the queue, and the kind of job for each party.

A customer's job is `AccountSync`. The job of a catalogue's thing (a price, a coupon)
schedules jobs for the parties that use it. The job of a pointer (an event without
content, whose customer only the source knows) asks the source whose it is.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from time import monotonic, thread_time

from bridge.domain.facts import PartyKind, PartyName, kind_of, source_of
from bridge.domain.values import DAY_MS, TO_REFRESH
from bridge.errors import SourceError
from bridge.log import fields
from bridge.store import keys
from bridge.store.accept import Origin
from bridge.store.lease import Claim
from bridge.store.view import Outcome, View
from workers import outcomes
from workers.context import Context
from workers.memory import give_memory_back
from workers.sync import AccountSync

log = logging.getLogger("workers.job")

STEPS = 200
"""Most steps of a spread in one job; the rest follows in the next job."""

LARGE = 0.5
"""Seconds of the processor; a job that takes more has used much memory."""


class Jobs:
    """Does the jobs of a worker; *turned* is when it last began, ended or looked for one."""

    def __init__(self, context: Context) -> None:
        self.context, self.done, self.turned = context, 0, monotonic()
        self.sync = AccountSync(context)

    def run(self, party: str) -> str:
        """Do the job of *party*; return the outcome's word. Raises redis' errors."""
        other = {PartyKind.CATALOGUE: self._spread, PartyKind.POINTER: self._follow}
        self.turned, began = monotonic(), thread_time()
        try:
            return self.sync.run(party, other.get(kind_of(party)))
        finally:
            self.done, self.turned = self.done + 1, monotonic()
            if thread_time() - began > LARGE:
                give_memory_back()

    def resume(self) -> None:
        """Queue the parties that were held for a key that is now set.

        This includes parties that an older version without catalogues held during a
        deploy.
        """
        for raw, _ in self.context.redis.zscan_iter(keys.HELD):
            party = raw.decode()
            kind, source, _ = PartyName.parse(party)
            readable = kind == PartyKind.POINTER and source in self.context.apis
            if readable or kind == PartyKind.CATALOGUE:
                claims = self.context.leases.claim("by hand", party)
                self.context.queue.push_all(claims, "held until now")

    def _spread(self, view: View) -> Outcome:
        """Schedule jobs for the parties that use a thing of a catalogue."""
        leases, party = self.context.leases, view.own.name
        reached = [leases.spread(party) for _ in range(STEPS)]
        return Outcome("unchanged", later_ms=1 if reached[-1] else 0)

    def _follow(self, view: View) -> Outcome:
        """Ask the source for a pointer's customer, and have that customer read."""
        party, redis = view.own.name, self.context.redis
        _, source, thing = PartyName.parse(party)
        api = self.context.apis.get(source)
        if api is None:
            redis.sadd(keys.UNREAD, party)
            key = self.context.keys_needed.get(source) or "a key of its source"
            log.error("held", extra=fields(party=party, reason=f"needs {key}"))
            why = f"needs {key}: an event came without content"
            return Outcome("held", "held", why, later_ms=DAY_MS)
        try:
            owner = api.owner(thing)
        except SourceError as error:
            log.warning("read", extra=fields(party=party, reason=error.reason))
            why = f"could not be read: {error.reason}"
            return Outcome("held", "held", why, later_ms=outcomes.after_refresh(error))
        redis.srem(keys.UNREAD, party)
        if owner is not None:
            self._notify(view, owner, thing)
        return Outcome("unchanged")

    def _notify(self, view: View, owner: str, thing: str) -> None:
        """Have *owner* read, because its *thing* has changed."""
        notice = view.own.things[TO_REFRESH].fact
        event = f"{notice.event}:{thing.rpartition(':')[2]}"
        fact = notice._replace(party=owner, event=event)
        origin = Origin(view.deliveries[-1] if view.deliveries else "")
        taken = self.context.accept.facts(source_of(owner), [fact], origin)
        if taken.claim:
            claim = Claim(owner, taken.claim, origin.delivery)
            self.context.queue.push(claim, f"{fact.kind} {fact.event}")


JOBS: ContextVar[Jobs] = ContextVar("jobs")
"""Set once by the worker process, because RQ passes a job only its queued arguments."""


def create_account(party: str) -> str:
    """A new customer: make its account and traits right in Vitally."""
    return JOBS.get().run(party)


def update_traits(party: str) -> str:
    """Something of a party changed: make its account's traits right in Vitally."""
    return JOBS.get().run(party)
