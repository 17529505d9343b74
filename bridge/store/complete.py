"""Up to when each source was compared with its own list, and where that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import orjson

from bridge.store import keys
from bridge.store.connect import Store, read, run_id

EVERY_MS = 120_000
"""Milliseconds from the end of one comparison to the next."""

LAG_MS = 120_000
"""How young a change may be so that its webhook may still be on its way."""

OVERLAP_MS = 300_000
"""How far a span reaches back: a list may show a change later than it happened.

Chargebee's up to five minutes later: https://apidocs.chargebee.com/docs/api/list-ops.
"""

NEWS_MS = 3_600_000
"""How long after the last gap it is news; then the next one is told anew."""

MOST_TYPES = 8
"""Most types of missing changes that are named."""


class Checkpoint(NamedTuple):
    """How far a source is complete; instants in milliseconds, 0: there is none.

    Nothing that happened between *first* and *up_to* is missing. The span from there *until* is being
    compared, and goes on *after* that place of the list; *run* is the Redis it began
    with. *checked* is when the last one ended, *reason* why the list cannot be read now.
    *missing* changes of some *types* were not there until *gap_at*, *total* of them since
    the beginning.
    """

    first: int
    up_to: int
    until: int = 0
    after: str = ""
    run: str = ""
    checked: int = 0
    reason: str = ""
    missing: int = 0
    types: Sequence[str] = ()
    gap_at: int = 0
    total: int = 0

    @property
    def since(self) -> int:
        """Where the span that is compared begins."""
        return max(self.first, self.up_to - OVERLAP_MS)

    def is_due(self, now: int, run: str) -> bool:
        """Whether it is time to compare; at once if Redis is another *run*."""
        return bool(self.until) or self.run != run or now - self.checked >= EVERY_MS

    def begun(self, now: int, run: str, keeps_ms: int = 0) -> Self:
        """The checkpoint with a span to compare; the list *keeps_ms* what happened (0: all).

        A Redis that was started anew may have lost what it took in just before, which no
        webhook brings again. After an outage of our own, senders may take hours to try
        again. So the span then goes on until *now*.
        """
        if self.until and self.run == run:
            return self
        is_usual = self.run == run and now - self.checked < 3 * EVERY_MS
        lag = LAG_MS if is_usual else 0
        until = max(self.up_to, now - lag)
        kept = now - keeps_ms if keeps_ms else 0
        first = self.first if kept <= self.up_to else kept
        return self._replace(first=first, until=until, after="", run=run)

    def read(self, after: str, missing: Sequence[str], now: int) -> Self:
        """The checkpoint after a page; the next one begins *after*.

        *missing* has the type of each change of the page that was not there.
        """
        checkpoint = self._replace(after=after, reason="")
        if missing:
            is_news, many = self.is_news(now), len(missing)
            types = {*missing, *(self.types if is_news else ())}
            checkpoint = checkpoint._replace(
                missing=many + (self.missing if is_news else 0),
                types=sorted(types)[:MOST_TYPES],
                gap_at=now,
                total=self.total + many,
            )
        if after:
            return checkpoint
        return checkpoint._replace(up_to=self.until, until=0, checked=now)

    def is_news(self, now: int) -> bool:
        """Whether something was missing a short while ago."""
        return bool(self.missing) and now - self.gap_at < NEWS_MS


def checkpoints(raw: Mapping[bytes, bytes]) -> dict[str, Checkpoint]:
    """The hash `keys.COMPLETE` as Redis replies it: source -> its checkpoint."""
    found = ((name.decode(), read(Checkpoint, row)) for name, row in raw.items())
    return {name: checkpoint for name, checkpoint in found if checkpoint}


class Completeness(Store):
    """Keeps the checkpoints. Raises redis' own errors."""

    def read(self) -> tuple[dict[str, Checkpoint], str]:
        """All checkpoints, and which run of Redis this is ("": it does not tell)."""
        return checkpoints(self._redis.hgetall(keys.COMPLETE)), run_id(self._redis)

    def put(self, source: str, checkpoint: Checkpoint) -> bool:
        """Store a checkpoint; False: Redis was started anew since it was read.

        What the page of the checkpoint had brought may be lost with the run.
        """
        row: Any = orjson.dumps(checkpoint._asdict())
        if not checkpoint.run:
            self._redis.hset(keys.COMPLETE, source, row)
            return True
        return bool(self._run("complete", source, row, checkpoint.run))
