"""What a person on call can do to the state: stop all writes, and give up an event."""

from __future__ import annotations

from redis import Redis

from bridge.store import keys
from bridge.store.accept import JOURNAL
from bridge.store.scripts import NAMES

_DISCARD = (
    NAMES
    + """
-- ARGV: party, length of the journal. Returns the events given up, -1: none waits
local p = ARGV[1]
if not (redis.call('ZSCORE', HELD, p) or redis.call('ZSCORE', PARKED, p)) then
  return -1
end
local key = party_of(p)
local row = redis.call('HMGET', key, 'held', 'parked', 'account', 'claim')
local held, parked = tonumber(row[1]) or 0, tonumber(row[2]) or 0
local all = held + parked
count('held', -held); count('parked', -parked)
count('settled', all); count('discarded', all)
if redis.call('EXISTS', key) == 1 then
  redis.call('HINCRBY', key, 'settled', all)
  redis.call('HDEL', key, 'held', 'parked', 'why')
end
redis.call('ZREM', HELD, p)
redis.call('ZREM', PARKED, p)
-- A newer event that waits for its next try goes on waiting; a daily look is over.
if row[4] ~= 'later' then redis.call('ZREM', LATER, p) end
redis.call('XADD', JOURNAL, 'MAXLEN', '~', ARGV[2], '*', 's', 'operator', 'e', '',
  'k', 'discard', 'p', p, 'r', 'discarded')
if row[3] then
  redis.call('LPUSH', history_of(row[3]),
    '{"at":' .. int(now) .. ',"did":"discarded","traits":{}}')
  redis.call('LTRIM', history_of(row[3]), 0, 4)
end
return all
"""
)


def discard(redis: Redis, party: str) -> int | None:
    """Settle without a write what *party* is held or parked with: how many events.

    None: it is neither. Its facts stay.
    """
    found = int(redis.register_script(_DISCARD)(args=[party, JOURNAL]))
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
