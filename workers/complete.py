"""Compares each source with its own list every few minutes, and after Redis was restarted.

The worker that sweeps does it, in a thread of its own, page by page. Where it is, Redis
knows, so another worker goes on after a crash.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

from redis.exceptions import RedisError

from bridge.completeness import NEWS, Comparison, comparisons
from bridge.domain.values import DAY_MS
from bridge.errors import BridgeError, SourceError, StorageError
from bridge.log import fields, where
from bridge.store import keys
from bridge.store.complete import Checkpoint, Completeness
from bridge.store.connect import milliseconds
from workers.context import Context

log = logging.getLogger("workers.complete")

TICK, NEXT = 1.0, 0.05
"""Seconds between two looks whether it is time; between two pages."""

FIRST_REST, LAST_REST = 15.0, 600.0
"""Seconds before a list is read again that could not be: at first, at most."""


class Completing:
    """Compares while *worker* is the one that sweeps."""

    def __init__(self, context: Context, worker: str) -> None:
        self.context, self.worker = context, worker
        self.redis: Any = context.redis
        self.checkpoints = Completeness(context.redis)
        self.comparisons = comparisons(context.settings, context.redis)
        self.rests: dict[str, tuple[float, float]] = {}
        """Source -> when its list is read again, and how long it rested before."""

    def run(self) -> None:
        """Compare until the worker stops."""
        self.context.repeat(lambda: NEXT if self.tick() else TICK, TICK)

    def tick(self) -> bool:
        """Compare one page of each source that is due; False: none was."""
        me = self.worker.encode()
        if not self.comparisons or self.redis.get(keys.SWEEPER) != me:
            return False
        (known, run), now = self.checkpoints.read(), milliseconds(self.redis)
        was_due = False
        for one in self.comparisons:
            point = known.get(one.source.name) or Checkpoint(now, now)
            rests_until, _ = self.rests.get(one.source.name, (0.0, 0.0))
            if monotonic() >= rests_until and point.is_due(now, run):
                keeps_ms, was_due = one.source.keeps_days * DAY_MS, True
                self._page(one, point.begun(now, run, keeps_ms), now)
        return was_due

    def _page(self, one: Comparison, point: Checkpoint, now: int) -> None:
        name, span = one.source.name, (point.since, point.until)
        # First of all: a Redis that takes nothing costs no request to the source.
        if not self.checkpoints.put(name, point):
            return
        try:
            verdicts, after = one.page(span, point.after, point.first)
        except (RedisError, StorageError):
            raise
        except Exception as error:  # noqa: BLE001 - no list is worth a worker
            self._rest(name, point, error)
            return
        self.rests.pop(name, None)
        missing = [verdict.type for verdict in verdicts if verdict.word in NEWS]
        if missing:
            types = sorted(set(missing))
            line = fields(source=name, missing=len(missing), types=types)
            log.warning("taken in from the source's own list", extra=line)
        self.checkpoints.put(name, point.read(after, missing, now))

    def _rest(self, name: str, point: Checkpoint, error: Exception) -> None:
        """Say why a list cannot be read, and read it again later.

        If time alone does not cure that, the place in it may be what cannot be read: then
        the span begins anew.
        """
        asked = error.retry_after if isinstance(error, SourceError) else None
        _, before = self.rests.get(name, (0.0, FIRST_REST / 2))
        rest = min(LAST_REST, asked or 2 * before)
        self.rests[name] = monotonic() + rest, rest
        # Never the message of another error, which may quote a sender.
        reason = str(error) if isinstance(error, BridgeError) else where(error)
        line = fields(source=name, reason=reason, again_in=f"{rest:g} s")
        log.warning("the source's own list cannot be read", extra=line)
        is_away = type(error) is SourceError and not error.refused
        after = point.after if is_away else ""
        self.checkpoints.put(name, point._replace(reason=reason, after=after))
