"""The Lua of a party whose job ends without an outcome: hold, postpone, move."""

from __future__ import annotations

from bridge.store.lease_scripts import AGAIN, SETTLE
from bridge.store.scripts import CLAIM, NAMES

HOLD = (
    NAMES
    + CLAIM
    + SETTLE
    + """
-- ARGV: party, revision read, nudges read, reason, JSON of its compaction {gone, put}.
-- Returns the claim to queue a job for (0: none)
-- No lease is held here: what another worker compacted at this revision or a later one
-- stays as it is.
local read = tonumber(ARGV[2])
local before = tonumber(redis.call('HGET', party_of(ARGV[1]), 'compacted')) or 0
if read > before then compact(ARGV[1], read, cjson.decode(ARGV[5])) end
local moved = settle(ARGV[1], read, tonumber(ARGV[3]), 'held', ARGV[4])
count('outcome:held', 1)
if moved then return want(ARGV[1]) end
redis.call('HDEL', party_of(ARGV[1]), 'claim', 'claimed_at', 'job')
return 0
"""
)
"""Hold a party whose account is not known."""

POSTPONE = (
    NAMES
    + CLAIM
    + AGAIN
    + """
-- ARGV: party, delay (ms), account ('' none), fence, JSON {field: text} of the account
-- Returns {party, claim} to queue jobs for. The party's claim stays: what arrives
-- meanwhile joins it and does not jump it.
local wanted = {}
local due = int(now + tonumber(ARGV[2]))
redis.call('ZADD', LATER, due, ARGV[1])
redis.call('HSET', party_of(ARGV[1]), 'claim', 'later')
redis.call('ZADD', DIRTY, 'NX', int(now), ARGV[1])
count('outcome:retried', 1)
if ARGV[3] == '' then return {} end
if redis.call('GET', lease_of(ARGV[3])) ~= ARGV[4] then
  -- Somebody else writes by now: what we have sent may stand above it.
  redis.call('HINCRBY', account_of(ARGV[3]), 'stale', 1)
else
  for name, text in pairs(cjson.decode(ARGV[5])) do
    redis.call('HSET', account_of(ARGV[3]), name, text)
  end
  redis.call('HSET', account_of(ARGV[3]), 'not_before', due)
  redis.call('SREM', again_of(ARGV[3]), ARGV[1])
  leave(ARGV[3], wanted)
end
return listed(wanted)
"""
)
"""Let a party wait for its next try."""

MOVE = (
    NAMES
    + CLAIM
    + """
-- ARGV: party, account it shall belong to ('' none), pseudo-party of a left account
-- Returns {party, claim} to queue jobs for
local p, new = ARGV[1], ARGV[2]
local old = redis.call('HGET', party_of(p), 'account') or ''
if old == new then return {} end
if new ~= '' then
  redis.call('SADD', members_of(new), p)
  redis.call('HSET', party_of(p), 'account', new)
else
  redis.call('HDEL', party_of(p), 'account')
end
redis.call('HDEL', party_of(p), 'known')
redis.call('ZADD', DIRTY, 'NX', int(now), p)
if old == '' then return {} end
redis.call('SREM', members_of(old), p)
local heir = redis.call('SRANDMEMBER', members_of(old))
if not heir then
  local known = redis.call('HMGET', account_of(old), 'ledger', 'doubt')
  if not known[1] and not known[2] then return {} end
  heir = ARGV[3] .. old
end
redis.call('ZADD', DIRTY, 'NX', int(now), heir)
return {{heir, want(heir)}}
"""
)
"""Move a party to another account; both become dirty."""

STUMBLE = (
    NAMES
    + SETTLE
    + """
-- ARGV: party, job, why. Returns whether the party is parked, and the failed job before
-- The same facts failed before: they will fail again, so people have to look.
local key = party_of(ARGV[1])
local row = redis.call('HMGET', key, 'rev', 'nudges', 'stumbled', 'failed')
local mark = (row[1] or '0') .. ' ' .. (row[2] or '0')
redis.call('HSET', key, 'failed', ARGV[2])
if row[3] == mark then
  settle(ARGV[1], tonumber(row[1]) or 0, tonumber(row[2]) or 0, 'parked', ARGV[3])
  redis.call('HDEL', key, 'claim', 'claimed_at', 'job')
  count('outcome:parked', 1)
  return {1, row[4] or ''}
end
redis.call('HSET', key, 'stumbled', mark)
return {0, row[4] or ''}
"""
)
"""Note a job that ended in an exception nobody foresaw; park the party at the second."""
