"""Counts the deliveries that were refused, without a call to Redis for each of them.

Anybody can send a delivery without a signature. So a process keeps count by itself, and
hands it over every few seconds, with the last ones for the journal of the refused.
"""

from __future__ import annotations

import threading
import tomllib
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from importlib.resources import files

import orjson
from redis import Redis
from redis.exceptions import RedisError

from bridge.store.connect import Scripts

TABLE = files(__package__).joinpath("refused.toml").read_text("utf-8")
REASONS: Mapping[str, str] = tomllib.loads(TABLE)
"""Every reason, and its meaning."""

JOURNAL = 1000
"""Most lines of the journal."""

ONCE = 100
"""Most lines that a process adds at once."""

NOBODY = "unknown"
"""Stands for all names that are no source."""


class Refusals:
    """The count of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last: deque[Sequence[str]] = deque(maxlen=ONCE)

    def add(
        self, source: str, status: int, reason: str, text: str, delivery: str
    ) -> None:
        """Count one; nothing is sent yet. *reason* is one of REASONS."""
        text = text.encode("utf-8", "replace").decode()  # or it could not be JSON
        with self._lock:
            self._counts[f"{source}:{reason}"] += 1
            self._last.append((source, str(status), reason, text, delivery))

    def flush(self, redis: Redis) -> None:
        """Hand the count over. It is kept where that raises a RedisError."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            lines = [*self._last]
            self._last.clear()
        if not counts:
            return
        try:
            Scripts(redis)("refuse", orjson.dumps(counts), orjson.dumps(lines), JOURNAL)
        except RedisError:
            with self._lock:
                self._counts.update(counts)
                self._last.extendleft(reversed(lines))
            raise
