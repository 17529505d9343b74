"""One throttle for all workers: no more than the allowed units in any 60 seconds.

Every write reserves a slot on Redis' clock. The limit and what a write costs are
learned from the `RateLimit-*` headers of Vitally's replies; until then a write is
taken to cost ten units (the facts' guess for Vitally's newest documentation).
"""

from __future__ import annotations

from uuid import uuid4

from redis import Redis

from bridge.store import keys
from bridge.store.budget import COST, LIMIT

PAUSED_MS = 2000
"""While somebody has stopped all writes: when to ask again."""

_RESERVE = """
-- KEYS: slots, rate, pause, paused by hand
-- ARGV: share, limit, cost, most (ms), id ('' only looks), wait while paused by hand
-- Returns the wait in ms; negative where it is longer than `most` (not reserved)
if redis.call('EXISTS', KEYS[4]) == 1 then return -tonumber(ARGV[6]) end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local rate = redis.call('HMGET', KEYS[2], 'limit', 'cost')
local limit = tonumber(rate[1] or ARGV[2])
local cost = tonumber(rate[2] or ARGV[3])
local most = math.max(1, math.floor(limit * tonumber(ARGV[1]) / cost))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - 60000))
local at = now
local nth = redis.call('ZRANGE', KEYS[1], -most, -most, 'WITHSCORES')
if nth[2] then at = math.max(at, tonumber(nth[2]) + 60001) end
local pause = redis.call('PTTL', KEYS[3])
if pause > 0 then at = math.max(at, now + pause) end
local wait = at - now
if wait > tonumber(ARGV[4]) then return -wait end
if ARGV[5] ~= '' then
  redis.call('ZADD', KEYS[1], string.format('%.0f', at), ARGV[5])
  redis.call('PEXPIRE', KEYS[1], 180000)
end
return wait
"""

_LEARN = """
-- KEYS: rate. ARGV: limit, remaining, was a write (1 or 0)
-- The cost of a write is the median of what the last nine were seen to take.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local limit, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local row = redis.call('HMGET', KEYS[1], 'left', 'at', 'seen')
local before = tonumber(row[1] or limit)
local elapsed = now - tonumber(row[2] or now)
local refill = math.min(limit - before, elapsed * limit / 60000)
redis.call('HSET', KEYS[1], 'limit', limit, 'left', left,
  'at', string.format('%.0f', now))
if ARGV[3] ~= '1' then return 0 end
local cost = math.max(1, math.min(100, math.floor(before + refill - left + 0.5)))
local seen = {}
for n in string.gmatch(row[3] or '', '%d+') do seen[#seen + 1] = tonumber(n) end
seen[#seen + 1] = cost
while #seen > 9 do table.remove(seen, 1) end
redis.call('HSET', KEYS[1], 'seen', table.concat(seen, ' '))
table.sort(seen)
local median = seen[math.floor(#seen / 2) + 1]
redis.call('HSET', KEYS[1], 'cost', median)
return median
"""


_PAUSE = """
-- KEYS: pause. ARGV: ms
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
return 1
"""


class Throttle:
    """Slots for writes to Vitally, *share* of its limit."""

    def __init__(self, redis: Redis, share: float) -> None:
        self._redis = redis
        self._share = share
        self._reserve = redis.register_script(_RESERVE)
        self._learn = redis.register_script(_LEARN)
        self._pause = redis.register_script(_PAUSE)

    def reserve(self, most_ms: int) -> tuple[int, str]:
        """Reserve the next slot: (ms to wait, slot).

        A negative wait says how far off it is where that is beyond *most_ms*;
        nothing is reserved then.
        """
        slot = uuid4().hex
        return self._call(most_ms, slot), slot

    def wait(self) -> int:
        """Milliseconds until there is a slot; reserves nothing."""
        return abs(self._call(0, ""))

    def give_back(self, slot: str) -> None:
        """Return a slot that was not used."""
        self._redis.zrem(keys.SLOTS, slot)

    def pause(self, ms: int) -> None:
        """Leave Vitally alone for *ms*; a longer pause that is set already stays."""
        self._pause(keys=[keys.PAUSE], args=[max(1, ms)])

    def learn(self, limit: int, remaining: int, *, write: bool) -> None:
        """Take in what a reply says of the limit.

        The bridge alone always leaves what it may not use. Where half of that is gone
        others use the key, and they go first until it has come back.
        """
        limit, remaining = max(1, limit), max(0, remaining)
        self._learn(keys=[keys.RATE], args=[limit, remaining, int(write)])
        missing = limit * (1 - self._share) / 2 - remaining
        if missing > 0:
            self.pause(int(missing * 60_000 / limit))

    def _call(self, most_ms: int, slot: str) -> int:
        names = [keys.SLOTS, keys.RATE, keys.PAUSE, keys.PAUSED]
        args: list[str | float] = [self._share, LIMIT, COST, most_ms, slot, PAUSED_MS]
        return int(self._reserve(keys=names, args=args))
