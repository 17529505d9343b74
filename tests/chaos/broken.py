"""Builds that are broken on purpose, for the checker to notice.

`python -m tests.chaos.broken VARIANT web|worker` is the real program, but for one
object that is replaced before it is put together.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from bridge import ingest
from bridge import serve as web
from bridge.domain.document import difference
from bridge.sources import load
from bridge.store import accept, connect
from workers import outcomes, sweep, sync, throttle
from workers.__main__ import main as worker


def edit(name: str, found: str, other: str) -> None:
    """Put *other* in the place of what is *found* in a Lua script."""
    real = connect._file
    assert found in real(name)

    def file(one: str) -> str:
        return real(one).replace(found, other) if one == name else real(one)

    connect._file = file


def no_lease() -> None:
    """Whoever asks for a lease gets it."""
    edit(
        "take", "if redis.call('EXISTS', lease_of(ARGV[1])) == 1 then", "if false then"
    )


def no_sweep() -> None:
    """Nobody looks for lost jobs."""
    sweep.Sweeper.sweep = lambda self: None


def difference_after_doubt() -> None:
    """After a write that was not confirmed the ledger is believed all the same."""
    sync.whole = difference


def dedupe_first() -> None:
    """An event is marked as seen before its facts are stored."""
    real = accept.Accept.facts

    def facts(self: Any, source: str, facts: Any, *more: Any) -> Any:
        if not self._redis.set(f"seen:{source}:{facts[0].event}", 1, nx=True):
            return accept.Accepted("duplicate", 0, known=True)
        return real(self, source, facts, *more)

    accept.Accept.facts = facts


def no_throttle() -> None:
    """There is always a slot."""
    throttle.Throttle.reserve = lambda self, most_ms: (0, "slot")
    throttle.Throttle.wait = lambda self: 0


def no_second_look() -> None:
    """What an unconfirmed request may still do later is not looked at."""
    outcomes._still_owed = lambda view: 0


def lost_leases_forgotten() -> None:
    """What was sent under a lease that was lost meanwhile is left as it is."""
    edit("postpone", "redis.call('HINCRBY', account_of(ARGV[3]), 'stale', 1)", "")


def talkative() -> None:
    """Each delivery is logged whole."""
    real = ingest.Ingress.receive

    def receive(self: Any, source: Any, delivery: Any, now: float) -> Any:
        logging.getLogger("bridge.web").warning("got %s", delivery.body.decode())
        return real(self, source, delivery, now)

    ingest.Ingress.receive = receive


VARIANTS: Mapping[str, Callable[[], None]] = {
    act.__name__: act
    for act in (
        no_lease,
        no_sweep,
        difference_after_doubt,
        dedupe_first,
        no_throttle,
        no_second_look,
        lost_leases_forgotten,
        talkative,
    )
}

if __name__ in {"__main__", "__mp_main__"}:
    VARIANTS[sys.argv[1]]()

if __name__ == "__main__":
    run = {"worker": worker, "web": lambda: web.serve(load(os.environ)[0])}
    sys.exit(run[sys.argv[2]]())
