"""The breaker: why all writes have stopped, for every worker and for `/readyz`."""

from __future__ import annotations

from redis import Redis

from bridge.store import keys


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
        return bool(self._redis.set(keys.BREAKER, reason, nx=True))

    def close(self) -> bool:
        """Let writes go on; True for the one who closed it."""
        return bool(self._redis.delete(keys.BREAKER))
