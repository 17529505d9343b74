"""How long the answer to a wrong password waits, and that somebody reads of it.

The right password never waits: nobody can lock it out. Whoever guesses is told so later
and later, by one clock for all of them: more connections do not make it faster.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

from bridge.log import fields

LOG = logging.getLogger("bridge.web")

FIRST = 0.1
"""Seconds that the first wrong one waits; each further one twice as long."""

GAP = 1.0
"""Seconds between two answers at most."""

LONGEST = 10.0
"""Seconds that an answer waits at most."""

FORGET = 60.0
"""Seconds without a wrong one after which the next is the first again."""

QUIET = 1.0
"""Seconds between two log lines at least: a log is not for others to fill."""


class Tries:
    """The wrong passwords of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._count = 0
        self._last = self._next = self._told = float("-inf")

    def wrong(self) -> float:
        """Note one more; return how many seconds its answer waits."""
        with self._lock:
            now = self._clock()
            if now - self._last > FORGET:
                self._count = 0
            self._count, self._last = self._count + 1, now
            gap = min(GAP, FIRST * 2 ** min(self._count - 1, 10))
            self._next = min(max(now, self._next) + gap, now + LONGEST)
            if now - self._told >= QUIET:
                self._told = now
                LOG.warning("wrong console password", extra=fields(tries=self._count))
            return self._next - now
