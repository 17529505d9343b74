"""Jobs of parties that are no customer: a catalogue's thing, and a pointer.

A thing of a catalogue that changed is told to those who use it; a pointer is read to
learn whose it is, and its owner is told to be read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from redis import Redis

from bridge.domain.facts import CATALOGUE, POINTER, THIN, source_of
from bridge.errors import SourceError
from bridge.log import fields
from bridge.queue import Queue
from bridge.store import keys
from bridge.store.accept import Accept
from bridge.store.catalogue import Spread
from bridge.store.lease import Leases
from bridge.store.view import Outcome, View
from bridge.webhook.source import Reader
from workers import retry

log = logging.getLogger("workers.errand")

STEPS = 200
"""Steps of a spread in one job; a longer one goes on in the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errands:
    """Does them; *keys_needed* maps a source to the setting that its reader needs."""

    redis: Redis
    queue: Queue
    accept: Accept
    spread: Spread
    readers: Mapping[str, Reader] = field(default_factory=dict)
    keys_needed: Mapping[str, str] = field(default_factory=dict)

    def run(self, view: View, party: str) -> Outcome:
        """Do the errand of *party*; the outcome is acknowledged by the caller."""
        if party.startswith(CATALOGUE):
            reached = [self.spread.reach(party) for _ in range(STEPS)]
            return Outcome("unchanged", later_ms=1 if reached[-1] else 0)
        return self._follow(view, party)

    def resume(self, leases: Leases) -> None:
        """Queue what was held for a key that is set by now.

        So is what an older version, which knew nothing of catalogues, held in the
        middle of a deploy.
        """
        for raw, _ in self.redis.zscan_iter(keys.HELD):
            party = raw.decode()
            readable = party.startswith(POINTER) and source_of(party) in self.readers
            if readable or party.startswith(CATALOGUE):
                self.queue.push_all(leases.wake(party), "held until now")

    def _follow(self, view: View, party: str) -> Outcome:
        source = source_of(party)
        reader = self.readers.get(source)
        if reader is None:
            self.redis.sadd(keys.UNREAD, party)
            reason = f"needs {self.keys_needed.get(source) or 'a key of its source'}"
            log.error("held", extra=fields(party=party, reason=reason))
            return _held(f"{reason}: an event came without content", retry.DAILY_MS)
        thing = party.removeprefix(f"{POINTER}{source}:")
        try:
            owner = reader.owner(thing)
        except SourceError as error:
            delay = retry.after_reading(error.retry_after, refused=error.refused)
            log.warning("read", extra=fields(party=party, reason=error.reason))
            return _held(f"could not be read: {error.reason}", delay)
        self.redis.srem(keys.UNREAD, party)
        if owner is not None:
            self._tell(view, party, owner)
        return Outcome("unchanged")

    def _tell(self, view: View, party: str, owner: str) -> None:
        """Have *owner* read, since something of it has changed."""
        fact = view.members[0].things[THIN].fact
        event = f"{fact.event}:{party.rpartition(':')[2]}"
        told = fact._replace(party=owner, event=event)
        taken = self.accept.facts(owner, source_of(owner), event, fact.kind, [told])
        if taken.claim:
            self.queue.push(owner, taken.claim, f"{fact.kind} {fact.event}")


def _held(reason: str, later_ms: int) -> Outcome:
    return Outcome("held", "held", reason, later_ms=later_ms)
