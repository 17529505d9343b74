"""Stores what was read from a source's API, under the party's lease, and limits the rate.

It also stores where an interrupted backfill goes on.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from redis import Redis

from bridge.domain.facts import Fact
from bridge.errors import LostLeaseError
from bridge.store import codec, keys
from bridge.store.connect import Store, milliseconds
from bridge.store.view import Lease

MOST_A_SECOND = 10
"""Most parties read from one source per second, by all workers together."""


class Refreshes(Store):
    """Stores what was read of a party, and decides when it may be read."""

    def learn(self, lease: Lease, facts: Collection[Fact]) -> None:
        """Add the *facts* of the leased party. Raises LostLeaseError."""
        if not self._run("learn", lease.party, lease.fence, *codec.rows(facts)):
            raise LostLeaseError(lease.party)

    def may(self, source: str) -> bool:
        """Whether one more party may be read in this second."""
        seconds = int(self._redis.time()[0])
        with self._redis.pipeline() as pipe:
            pipe.incr(keys.reads(source, seconds))
            pipe.expire(keys.reads(source, seconds), 5)
            return int(pipe.execute()[0]) <= MOST_A_SECOND

    def wait(self, party: str) -> int:
        """Milliseconds until *party* may be read again after a failure; 0: now."""
        after = self._redis.hget(keys.party(party), "read_after")
        return max(0, int(after) - milliseconds(self._redis)) if after else 0

    def failed(self, party: str, delay_ms: int) -> None:
        """Do not read *party* again for *delay_ms*."""
        at = milliseconds(self._redis) + delay_ms
        self._redis.hset(keys.party(party), "read_after", str(at))

    def appoint(self, party: str, delay_ms: int) -> None:
        """Have *party* looked at again in *delay_ms* at the latest."""
        at = milliseconds(self._redis) + max(1, delay_ms)
        self._redis.zadd(keys.LATER, {party: at}, lt=True)


class Cursor:
    """Where the backfill of a source was interrupted. Raises redis' own errors."""

    def __init__(self, redis: Redis, source: str, since: int | None) -> None:
        self._redis: Any = redis
        self._source, self._key = source, keys.backfill(source)
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

    def forget(self, party: str) -> None:
        """Begin anew if it was interrupted after *party*, whatever its *since*."""
        if self._redis.hget(self._key, "after") == party.encode():
            self.drop()

    def drop(self) -> None:
        """Forget it."""
        self._redis.delete(self._key)

    def end(self) -> None:
        """Forget it; note that all customers were read."""
        self.drop()
        if not self._since:
            self._redis.hset(keys.BACKFILLED, self._source, milliseconds(self._redis))
