"""Where an interrupted backfill goes on: the last party that was done."""

from __future__ import annotations

from typing import Any

from redis import Redis

from bridge.store import keys


class Bookmark:
    """One for each source. Raises redis' own errors."""

    def __init__(self, redis: Redis, source: str, since: int | None) -> None:
        self._redis: Any = redis
        self._key = keys.backfill(source)
        self._since = "" if since is None else str(since)

    def place(self) -> str | None:
        """Return the party, "" for the start; None: it belongs to another *since*."""
        after, since = self._redis.hmget(self._key, "after", "since")
        if after is None:
            return ""
        return str(after.decode()) if since.decode() == self._since else None

    def put(self, party: str) -> None:
        """Say that *party* is done."""
        self._redis.hset(self._key, mapping={"after": party, "since": self._since})

    def drop(self) -> None:
        """Forget it: there is nothing to go on with."""
        self._redis.delete(self._key)
