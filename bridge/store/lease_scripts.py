"""The Lua of leases: take, prove, give back and confirm."""

from __future__ import annotations

from bridge.store.scripts import CLAIM, NAMES

SETTLE = """
-- Replace the facts of the party up to revision `read` by the fewer that fold alike:
-- `less.gone` are fields, `less.put` maps fields to rows.
local function compact(p, read, less)
  for _, field in ipairs(less.gone) do redis.call('HDEL', facts_of(p), field) end
  for field, row in pairs(less.put) do redis.call('HSET', facts_of(p), field, row) end
  redis.call('HSET', party_of(p), 'compacted', int(read))
end
-- Move what the party has accepted up to revision `read` into the state `to`
-- (settled, held or parked); returns whether newer facts are waiting, its own or of
-- what it uses (`nudged`).
local function settle(p, read, nudged, to, why)
  local key = party_of(p)
  local row = redis.call('HMGET', key, 'rev', 'settled', 'held', 'parked', 'nudges')
  local rev, settled = tonumber(row[1]) or 0, tonumber(row[2]) or 0
  local held, parked = tonumber(row[3]) or 0, tonumber(row[4]) or 0
  local fresh = math.max(0, read - settled - held - parked)
  local all = held + parked + fresh
  count('pending', -fresh); count('held', -held); count('parked', -parked)
  count(to, all)
  held, parked = 0, 0
  if to == 'settled' then settled = settled + all
  elseif to == 'held' then held = all
  else parked = all end
  redis.call('HSET', key, 'settled', int(settled), 'held', int(held),
    'parked', int(parked))
  redis.call('HDEL', key, 'stumbled')
  if why == '' then redis.call('HDEL', key, 'why')
  else redis.call('HSET', key, 'why', why) end
  for name, set in pairs({held = HELD, parked = PARKED}) do
    if to == name then redis.call('ZADD', set, 'NX', int(now), p)
    else redis.call('ZREM', set, p) end
  end
  -- What waited for its next try waits no longer, and its claim is over.
  redis.call('ZREM', LATER, p)
  if redis.call('HGET', key, 'claim') == 'later' then
    redis.call('HDEL', key, 'claim', 'claimed_at', 'job')
  end
  if rev > read then redis.call('ZADD', DIRTY, 'XX', int(now), p)
  elseif (tonumber(row[5]) or 0) > nudged then redis.call('ZADD', DIRTY, int(now), p)
  else
    redis.call('ZREM', DIRTY, p)
    return false
  end
  return true
end
"""

TAKE = (
    NAMES
    + """
-- ARGV: account, party, lease (ms). Returns the fencing number, 0: another has it
if redis.call('EXISTS', lease_of(ARGV[1])) == 1 then
  redis.call('SADD', again_of(ARGV[1]), ARGV[2])
  return 0
end
local fence = redis.call('INCR', FENCE)
redis.call('SET', lease_of(ARGV[1]), fence, 'PX', ARGV[3])
return fence
"""
)
"""Take an account's lease, or leave the mark that makes its holder queue us again."""

KEEP = (
    NAMES
    + """
-- ARGV: account, fence, lease (ms), doubt ('' or the whole writes owed from now on),
--   JSON list of the traits that are about to be sent ('' none)
-- Returns 1, or 0 where the lease is lost
if redis.call('GET', lease_of(ARGV[1])) ~= ARGV[2] then return 0 end
redis.call('PEXPIRE', lease_of(ARGV[1]), ARGV[3])
if ARGV[4] ~= '' then
  redis.call('HSET', account_of(ARGV[1]), 'doubt', ARGV[4], 'sent', ARGV[5])
end
return 1
"""
)
"""Prove and prolong the lease; before a request, mark the ledger uncertain."""

AGAIN = """
-- Give the lease back and claim for those that came meanwhile and are not settled.
local function leave(account, wanted)
  for _, p in ipairs(redis.call('SMEMBERS', again_of(account))) do
    local row = redis.call('HMGET', party_of(p), 'rev', 'settled', 'held', 'parked')
    local done = (tonumber(row[2]) or 0) + (tonumber(row[3]) or 0)
      + (tonumber(row[4]) or 0)
    if not wanted[p] then
      if redis.call('ZSCORE', DIRTY, p) or done < (tonumber(row[1]) or 0) then
        wanted[p] = want(p)
      else
        redis.call('HDEL', party_of(p), 'claim', 'claimed_at', 'job')
      end
    end
  end
  redis.call('DEL', again_of(account), lease_of(account))
end
local function listed(wanted)
  local out = {}
  for p, claim in pairs(wanted) do out[#out + 1] = {p, claim} end
  return out
end
"""

LEAVE = (
    NAMES
    + CLAIM
    + AGAIN
    + """
-- ARGV: account, fence. Returns {party, claim} to queue jobs for
if redis.call('GET', lease_of(ARGV[1])) ~= ARGV[2] then return {} end
local wanted = {}
leave(ARGV[1], wanted)
return listed(wanted)
"""
)
"""Give a lease back without an outcome."""

ACK = (
    NAMES
    + CLAIM
    + SETTLE
    + AGAIN
    + """
-- ARGV: JSON: account, fence, party (whose job it is), to (settled, held, parked), why,
--   parties [{name, read, nudged, gone [field], put {field: row}, incomplete, ghost}],
--   set {field: text} and unset [field] of the account, unknown (text or ''),
--   history (text or ''), counts {name: n}, later (ms from now; 0: never), known,
--   stale (writes of lost leases that this one has made good)
-- Returns 0 where the lease is lost, else {party, claim} to queue jobs for
local ack = cjson.decode(ARGV[1])
if redis.call('GET', lease_of(ack.account)) ~= ack.fence then return 0 end
local wanted = {}
for _, m in ipairs(ack.parties) do
  compact(m.name, m.read, m)
  if m.incomplete then redis.call('SADD', INCOMPLETE, m.name)
  else redis.call('SREM', INCOMPLETE, m.name) end
  local moved = settle(m.name, m.read, m.nudged, ack.to, ack.why)
  if ack.known then redis.call('HSET', party_of(m.name), 'known', '1') end
  if m.ghost then redis.call('DEL', party_of(m.name)) end
  if m.name == ack.party then
    if moved then wanted[m.name] = want(m.name)
    else redis.call('HDEL', party_of(m.name), 'claim', 'claimed_at', 'job') end
  end
end
for name, text in pairs(ack.set) do
  redis.call('HSET', account_of(ack.account), name, text)
end
for _, name in ipairs(ack.unset) do
  redis.call('HDEL', account_of(ack.account), name)
end
if ack.unknown == '' then redis.call('HDEL', UNKNOWN, ack.account)
else redis.call('HSET', UNKNOWN, ack.account, ack.unknown) end
if ack.history ~= '' then
  redis.call('LPUSH', history_of(ack.account), ack.history)
  redis.call('LTRIM', history_of(ack.account), 0, 4)
end
if ack.stale > 0 then
  redis.call('HINCRBY', account_of(ack.account), 'stale', -ack.stale)
end
for name, n in pairs(ack.counts) do count(name, n) end
if ack.later > 0 then
  redis.call('ZADD', LATER, int(now + ack.later), ack.party)
end
leave(ack.account, wanted)
return listed(wanted)
"""
)
"""Confirm an outcome for all parties of an account at once; only with the lease."""
