"""Why all writes are stopped, and what a person on call can do to the state.

The breaker stops them while Vitally refuses the key; a person may pause them by hand.
"""

from __future__ import annotations

from redis import Redis

from bridge.store import keys
from bridge.store.accept import JOURNAL
from bridge.store.scripts import load


def discard(redis: Redis, party: str) -> int | None:
    """Settle without a write what *party* is held or parked with: how many events.

    None: it is neither. Its facts stay.
    """
    found = int(redis.register_script(load("discard"))(args=[party, JOURNAL]))
    return None if found < 0 else found


def pause(redis: Redis, reason: str) -> None:
    """Stop all writes to Vitally, for every worker, until `resume`."""
    redis.set(keys.PAUSED, reason)


def resume(redis: Redis) -> bool:
    """Let writes go on; False: they were not paused."""
    return bool(redis.delete(keys.PAUSED))


def paused(redis: Redis) -> str | None:
    """Why somebody has stopped all writes; None: nobody has."""
    raw = redis.get(keys.PAUSED)
    return raw.decode() if isinstance(raw, bytes) else None


FIRST_LOOK, LAST_LOOK = 3.0, 60.0
"""Seconds between looks whether a refused key works again: at first, at most."""

REMEMBERED = 600
"""Seconds for which an opening counts."""


class Breaker:
    """Open while Vitally refuses the key or the address; shared by all workers."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def reason(self) -> str | None:
        """Why writes have stopped; None: they have not."""
        raw = self._redis.get(keys.BREAKER)
        return raw.decode() if isinstance(raw, bytes) else None

    def open(self, reason: str) -> bool:
        """Stop all writes; True for the one who opened it."""
        if not self._redis.set(keys.BREAKER, reason, nx=True):
            return False
        with self._redis.pipeline() as pipe:
            pipe.incr(keys.OPENED)
            pipe.expire(keys.OPENED, REMEMBERED)
            pipe.execute()
        return True

    def patience(self) -> float:
        """Seconds between looks: longer where it opened again and again of late."""
        raw = self._redis.get(keys.OPENED)
        times = int(raw) if isinstance(raw, bytes) else 1
        return min(FIRST_LOOK * 2.0 ** (times - 1), LAST_LOOK)

    def close(self) -> bool:
        """Let writes go on; True for the one who closed it."""
        return bool(self._redis.delete(keys.BREAKER))
