"""Builds that are broken on purpose, for the checker to notice.

`python -m tests.chaos.broken VARIANT web|worker` is the real program, but for one
object that is replaced before it is put together. `python -m tests.chaos.crashpoints
--variant VARIANT` lets it die.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from typing import Any

from bridge import desired, ingest, throttle
from bridge import serve as web
from bridge.cli import backfill
from bridge.domain.document import difference
from bridge.sources import load
from bridge.store import accept, connect, keys
from bridge.store.connect import milliseconds
from workers import complete, outcomes, reconcile, sweep, write
from workers.__main__ import main as worker


def edit(name: str, found: str, other: str) -> None:
    """Put *other* in the place of what is *found* in a Lua script."""
    real = connect._file
    assert found in real(name)

    def file(one: str) -> str:
        return real(one).replace(found, other) if one == name else real(one)

    connect._file = file


def dedupe_first() -> None:
    """An event is marked as seen before its facts are stored."""
    real = accept.Accept.facts

    def facts(self: Any, source: str, facts: Any, *more: Any, **how: Any) -> Any:
        if not self._redis.set(f"seen:{source}:{facts[0].event}", 1, nx=True):
            return accept.Accepted("duplicate", 0, known=True)
        return real(self, source, facts, *more, **how)

    accept.Accept.facts = facts


def no_throttle() -> None:
    """There is always a slot."""
    throttle.Throttle.reserve = lambda self, most_ms: (0, "slot")
    throttle.Throttle.wait = lambda self: 0


def talkative() -> None:
    """Each delivery is logged whole."""
    real = ingest.Ingress.receive

    def receive(self: Any, source: Any, delivery: Any, now: float) -> Any:
        logging.getLogger("bridge.web").warning("got %s", delivery.body.decode())
        return real(self, source, delivery, now)

    ingest.Ingress.receive = receive


def place_first() -> None:
    """A backfill notes that it has read a customer before it takes that customer in."""
    real = backfill._each

    def each(
        parts: Any, what: str, take: Any, total: Any = None, cursor: Any = None
    ) -> Any:
        def noted(part: Any) -> Any:
            if cursor:
                cursor.put(str(part))
            return take(part)

        return real(parts, what, noted, total, cursor)

    backfill._each = each


def read_first() -> None:
    """Vitally counts as reconciled before what drifted there is looked at."""
    real = reconcile.Schedule._mend

    def mend(self: Any) -> None:
        self.redis.set(keys.RECONCILED, milliseconds(self.redis))
        real(self)

    reconcile.Schedule._mend = mend


def up_to_first() -> None:
    """A source counts as complete before a page of its list is compared."""
    real = complete.Completing._page

    def page(self: Any, one: Any, place: Any, now: int) -> None:
        done = place._replace(up_to=place.until, until=0, checked=now)
        self.checkpoints.put(one.source.name, done)
        real(self, one, place, now)

    complete.Completing._page = page


NOTES = "redis.call('HINCRBY', account_of(account), 'stale', 1)"

VARIANTS = {
    # Whoever asks for a lease gets it.
    "no_lease": partial(edit, "begin", "elseif held_by then", "elseif false then"),
    # Nobody looks for lost jobs.
    "no_sweep": partial(setattr, sweep.Sweeper, "sweep", lambda self: None),
    # After a write that was not confirmed the ledger is believed all the same.
    "difference_after_doubt": partial(setattr, desired, "whole", difference),
    "dedupe_first": dedupe_first,
    "no_throttle": no_throttle,
    # What an unconfirmed request may still do later is not looked at.
    "no_second_look": partial(setattr, outcomes, "_still_owed", lambda view: 0),
    # What was sent under a lease that was lost meanwhile is left as it is.
    "lost_leases_forgotten": partial(edit, "postpone", NOTES, ""),
    "talkative": talkative,
}

FOR_CRASHES = {
    # A party counts as done once its job has begun.
    "clean_at_begin": partial(
        edit, "begin", "local found,", "redis.call('ZREM', DIRTY, p)\nlocal found,"
    ),
    # Whoever dies between two steps of a job keeps its lease.
    "lease_for_ever": partial(
        edit, "begin", "int(fence), 'PX', ARGV[3])", "int(fence))"
    ),
    # What is about to be sent is not marked as unconfirmed.
    "unmarked": partial(setattr, write.Write, "_mark_unconfirmed", lambda self: None),
    "place_first": place_first,
    "read_first": read_first,
    "up_to_first": up_to_first,
}
"""Variants that break nothing unless a process dies between two calls of its own."""

if __name__ in {"__main__", "__mp_main__"}:
    VARIANTS[sys.argv[1]]()

if __name__ == "__main__":
    sys.exit(worker() if sys.argv[2] == "worker" else web.serve(load(os.environ)[0]))
