"""Deliveries that somebody asked to keep, scrubbed: the asking, the keeping, the taking.

Every web process looks once a second whether anything is asked for, so that a delivery
costs nothing while nothing is.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from bridge.store import keys
from bridge.webhook.scrub import scrubbed

EVERY = 1.0
"""Seconds between two looks."""

MOST, LONGEST = 50, 64 * 1024
"""Deliveries of one source that are kept, and bytes of each."""

DAY = 86_400
"""Seconds after which what was kept is forgotten."""


def ask(redis: Redis, source: str, count: int, minutes: int) -> None:
    """Have the next *count* deliveries of *source* kept, and forget those before."""
    redis.delete(keys.captured(source))
    wish = f"{min(count, MOST)} {secrets.token_hex(16)}"
    redis.set(keys.capture(source), wish, ex=minutes * 60)


def taken(redis: Any, source: str) -> list[bytes]:
    """Return what was kept of *source*, and stop keeping."""
    redis.delete(keys.capture(source))
    found: list[bytes] = redis.lrange(keys.captured(source), 0, -1)
    redis.delete(keys.captured(source))
    return found


class Captures:
    """What is asked for of some *sources*, as of the last look; *redis* is its own."""

    def __init__(self, redis: Any, sources: Collection[str]) -> None:
        self._redis = redis
        self._sources = tuple(sources)
        self._wishes: dict[str, tuple[int, bytes]] = {}
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin to look, in a daemon thread."""
        threading.Thread(target=self._run, name="captures", daemon=True).start()

    def stop(self) -> None:
        """End the thread, soon."""
        self._stop.set()

    def look(self) -> None:
        """Look once; what cannot be seen is not asked for."""
        wishes: list[bytes | None] = [None] * len(self._sources)
        with suppress(RedisError, OSError):
            if self._sources:
                wishes = self._redis.mget([keys.capture(s) for s in self._sources])
        told = zip(self._sources, wishes, strict=True)
        pairs = {source: wish.split() for source, wish in told if wish}
        self._wishes = {s: (int(p[0]), p[1][:32]) for s, p in pairs.items()}

    def offer(self, source: str, body: bytes) -> None:
        """Keep a delivery that is asked for; it was accepted, whatever comes of this."""
        wish = self._wishes.get(source)
        if wish is None or len(body) > LONGEST:
            return
        kept = scrubbed(body, wish[1])
        if kept is None:
            return
        with suppress(RedisError, OSError):
            if self._keep(source, kept, wish[0]) >= wish[0]:
                self._redis.delete(keys.capture(source))
                self._wishes.pop(source, None)

    def _keep(self, source: str, body: bytes, most: int) -> int:
        where = keys.captured(source)
        pipe = self._redis.pipeline()
        pipe.rpush(where, body)
        pipe.ltrim(where, 0, most - 1)
        pipe.expire(where, DAY)
        return int(pipe.execute()[0])

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(EVERY)
