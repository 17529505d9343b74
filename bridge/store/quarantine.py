"""Authentic deliveries that could not be read: kept whole, capped, to be replayed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
from redis import Redis
from redis.exceptions import RedisError

from bridge.errors import StorageError
from bridge.store import keys

MOST = 1000
"""Deliveries that are kept; the oldest go first."""

DAYS = 30
"""How long one is kept."""

_PUT = """
-- KEYS: quarantine, quarantined, counters, journal
-- ARGV: id, JSON, most, age (ms), source, event, reason
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[1])
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - ARGV[4]))
local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[3])
if over > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do old[#old + 1] = id end
end
for _, id in ipairs(old) do
  redis.call('ZREM', KEYS[2], id); redis.call('HDEL', KEYS[1], id)
end
redis.call('HINCRBY', KEYS[3], 'received', 1)
redis.call('HINCRBY', KEYS[3], 'quarantined', 1)
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 10000, '*', 's', ARGV[5], 'e', ARGV[6],
  'k', ARGV[7], 'r', 'quarantined')
return 1
"""


class Kept(NamedTuple):
    """A quarantined delivery; *since* in milliseconds."""

    id: str
    since: int
    source: str
    event: str
    reason: str
    body: bytes


class Quarantine:
    """The shelf of deliveries that the schemas refused."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._put = redis.register_script(_PUT)

    def put(self, id_: str, source: str, event: str, reason: str, body: bytes) -> None:
        """Keep *body* whole under *id_*, and count it. Raises StorageError."""
        kept = orjson.dumps(
            {
                "source": source,
                "event": event,
                "reason": reason,
                "body": base64.b64encode(body).decode(),
            }
        )
        names = [keys.QUARANTINE, keys.QUARANTINED, keys.COUNTERS, keys.JOURNAL]
        age = DAYS * 86_400_000
        args: list[str | bytes | int] = [
            id_,
            kept,
            MOST,
            age,
            source,
            event,
            reason[:200],
        ]
        try:
            self._put(keys=names, args=args)
        except RedisError as error:
            name = type(error).__name__
            raise StorageError(f"Redis did not take it ({name})") from error

    def all(self) -> Iterator[Kept]:
        """Every kept delivery, the oldest first."""
        listed: Any = self._redis.zrange(keys.QUARANTINED, 0, -1, withscores=True)
        for raw, since in listed:
            data: Any = self._redis.hget(keys.QUARANTINE, raw)
            if data:
                yield _kept(raw.decode(), int(since), data)

    def get(self, id_: str) -> Kept | None:
        """One kept delivery."""
        data: Any = self._redis.hget(keys.QUARANTINE, id_)
        since = self._redis.zscore(keys.QUARANTINED, id_)
        return _kept(id_, int(since or 0), data) if data else None

    def drop(self, id_: str) -> None:
        """Forget a delivery (it was replayed)."""
        with self._redis.pipeline() as pipe:
            pipe.hdel(keys.QUARANTINE, id_)
            pipe.zrem(keys.QUARANTINED, id_)
            pipe.execute()


def _kept(id_: str, since: int, data: bytes) -> Kept:
    row = orjson.loads(data)
    body = base64.b64decode(row["body"])
    return Kept(id_, since, row["source"], row["event"], row["reason"], body)
