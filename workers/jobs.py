"""The jobs by their names in the queue, and which kind each party needs.

A customer's job is `AccountSync`. A thing of a catalogue (a price, a coupon) has a job
that lets the parties which use it be looked at again; a pointer (an event without
content, whose customer only the source can tell) has one that asks whose it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from redis import Redis

from bridge.domain.facts import PartyKind, PartyName, kind_of, source_of
from bridge.domain.values import TO_REFRESH
from bridge.errors import LostLeaseError, SourceError
from bridge.log import fields
from bridge.queue import Queue
from bridge.store import keys
from bridge.store.accept import Accept
from bridge.store.catalogue import Spread
from bridge.store.lease import Leases
from bridge.store.view import Outcome, View
from bridge.webhook.source import SourceApi
from workers import retry
from workers.heartbeat import HeldLease
from workers.sync import AccountSync

log = logging.getLogger("workers.job")

STEPS = 200
"""Steps of a spread in one job; a longer one goes on in the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """Does the jobs of a worker; *keys_needed*: source -> setting of its API's key."""

    sync: AccountSync
    redis: Redis
    leases: Leases
    queue: Queue
    held: HeldLease
    accept: Accept
    spread: Spread
    apis: Mapping[str, SourceApi] = field(default_factory=dict)
    keys_needed: Mapping[str, str] = field(default_factory=dict)

    def run(self, party: str) -> str:
        """Do the job of *party*; return the outcome's word. Raises redis' errors."""
        if kind_of(party) not in {PartyKind.CATALOGUE, PartyKind.POINTER}:
            return self.sync.run(party)
        view = self.leases.begin(party)
        if view is None:
            return "retried"
        self.held.take(view.lease)
        claims: list[tuple[str, int]] = []
        word = "retried"
        try:
            outcome = self._outcome(view, party)
            claims = self.leases.ack(view, outcome)
            word = outcome.word
        except LostLeaseError:
            claims = self.leases.postpone(party, 0, view.lease)
        except BaseException:
            claims = self.leases.release(view.lease)
            raise
        finally:
            self.held.drop()
            self.queue.push_all(claims, "newer facts")
        log.info("job", extra=fields(party=party, outcome=word))
        return word

    def resume(self) -> None:
        """Queue what was held for a key that is set by now.

        So is what an older version, which knew nothing of catalogues, held in the
        middle of a deploy.
        """
        for raw, _ in self.redis.zscan_iter(keys.HELD):
            party = raw.decode()
            kind, source, _ = PartyName.parse(party)
            readable = kind == PartyKind.POINTER and source in self.apis
            if readable or kind == PartyKind.CATALOGUE:
                self.queue.push_all(self.leases.claim_by_hand(party), "held until now")

    def _outcome(self, view: View, party: str) -> Outcome:
        if kind_of(party) == PartyKind.CATALOGUE:
            reached = [self.spread.reach(party) for _ in range(STEPS)]
            return Outcome("unchanged", later_ms=1 if reached[-1] else 0)
        return self._follow(view, party)

    def _follow(self, view: View, party: str) -> Outcome:
        """Ask the source whose a pointer is, and have that customer read."""
        _, source, thing = PartyName.parse(party)
        api = self.apis.get(source)
        if api is None:
            self.redis.sadd(keys.UNREAD, party)
            reason = f"needs {self.keys_needed.get(source) or 'a key of its source'}"
            log.error("held", extra=fields(party=party, reason=reason))
            return _held(f"{reason}: an event came without content", retry.DAILY_MS)
        try:
            owner = api.owner(thing)
        except SourceError as error:
            delay = retry.after_refresh(error.retry_after, refused=error.refused)
            log.warning("read", extra=fields(party=party, reason=error.reason))
            return _held(f"could not be read: {error.reason}", delay)
        self.redis.srem(keys.UNREAD, party)
        if owner is not None:
            self._tell(view, party, owner)
        return Outcome("unchanged")

    def _tell(self, view: View, party: str, owner: str) -> None:
        """Have *owner* read, since something of it has changed."""
        fact = view.own.things[TO_REFRESH].fact
        event = f"{fact.event}:{party.rpartition(':')[2]}"
        told = fact._replace(party=owner, event=event)
        taken = self.accept.facts(owner, source_of(owner), event, fact.kind, [told])
        if taken.claim:
            self.queue.push(owner, taken.claim, f"{fact.kind} {fact.event}")


def _held(reason: str, later_ms: int) -> Outcome:
    return Outcome("held", "held", reason, later_ms=later_ms)


JOBS: ContextVar[Jobs] = ContextVar("jobs")
"""Set once by the worker process: RQ calls a job with what the queue holds alone."""


def create_account(party: str) -> str:
    """First sight of a customer: make its account and traits right in Vitally."""
    return JOBS.get().run(party)


def update_traits(party: str) -> str:
    """Something of a party changed: make its account's traits right in Vitally."""
    return JOBS.get().run(party)
