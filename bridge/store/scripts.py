"""The Lua that changes state: each script is one atomic step, counted where it acts.

Time is Redis' own (milliseconds), so that no clock of ours can disagree. The keys
are spelt by `keys.py` alone: `script` puts its names into the text once.
"""

from __future__ import annotations

from bridge.store import keys

NAMES = """
local DIRTY, HELD, PARKED, LATER = '{dirty}', '{held}', '{parked}', '{later}'
local COUNTERS, RECENT, JOURNAL = '{counters}', '{recent}', '{journal}'
local INCOMPLETE, UNKNOWN, FENCE = '{incomplete}', '{unknown}', '{fence}'
local QUARANTINED_EVENTS = '{quarantined_events}'
local function facts_of(p) return '{facts}' .. p end
local function party_of(p) return '{party}' .. p end
local function account_of(a) return '{account}' .. a end
local function members_of(a) return '{members}' .. a end
local function history_of(a) return '{history}' .. a end
local function lease_of(a) return '{lease}' .. a end
local function again_of(a) return '{again}' .. a end
local function uses_of(p) return '{uses}' .. p end
local function count(name, n)
  if n ~= 0 then redis.call('HINCRBY', COUNTERS, name, n) end
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function int(x) return string.format('%.0f', tonumber(x) or 0) end
""".format(
    dirty=keys.DIRTY,
    held=keys.HELD,
    parked=keys.PARKED,
    later=keys.LATER,
    counters=keys.COUNTERS,
    recent=keys.RECENT,
    journal=keys.JOURNAL,
    incomplete=keys.INCOMPLETE,
    unknown=keys.UNKNOWN,
    fence=keys.FENCE,
    quarantined_events=keys.QUARANTINED_EVENTS,
    facts=keys.facts(""),
    party=keys.party(""),
    account=keys.account(""),
    members=keys.members(""),
    history=keys.history(""),
    lease=keys.lease(""),
    again=keys.again(""),
    uses=keys.uses(""),
)

CLAIM = """
-- Claim the party for one more job; returns the claim's number.
local function want(p)
  redis.call('HSET', party_of(p), 'claim', 'wanted', 'claimed_at', int(now))
  return redis.call('HINCRBY', party_of(p), 'claims', 1)
end
"""


RECEIVE = """
-- Count one event as received; one that is replayed, and so leaves the delivery `of`
-- of the quarantine, was counted when that came: it moves.
local function receive(of)
  if of ~= '' and tonumber(redis.call('HGET', QUARANTINED_EVENTS, of) or 0) > 0 then
    redis.call('HINCRBY', QUARANTINED_EVENTS, of, -1)
    count('quarantined', -1)
  else
    count('received', 1)
  end
end
"""


def accept(enqueue: str) -> str:
    """The script that takes one event's facts of one party: the only way in.

    *enqueue* is the Lua of `enqueue(p, claim, known)`, which queues a job with what
    ARGV says from 9 to 13 of it (`bridge.queue`).
    """
    return NAMES + CLAIM + RECEIVE + enqueue + _ACCEPT


_ACCEPT = """
-- ARGV: party, digest of the event, source, event, kind, stale claim (ms),
--       length of the ring, length of the journal, five of the job (the first '': the
--       caller queues it), delivery in the quarantine that is replayed ('' none), then
--       field and fact in turn
-- Returns: receipt, number of the claim to queue a job for (0: none), known account
local p, digest = ARGV[1], ARGV[2]
local key, new = party_of(p), 0
if not redis.call('ZSCORE', RECENT, digest) then
  for i = 15, #ARGV, 2 do
    new = new + redis.call('HSETNX', facts_of(p), ARGV[i], ARGV[i + 1])
  end
  redis.call('ZADD', RECENT, int(now), digest)
  redis.call('ZREMRANGEBYRANK', RECENT, 0, -tonumber(ARGV[7]) - 1)
end
local row = redis.call('HMGET', key, 'claim', 'claimed_at', 'known')
local stale = row[1] == 'wanted' and now - tonumber(row[2]) > tonumber(ARGV[6])
local receipt, claim = 'duplicate', 0
if new > 0 then
  redis.call('HINCRBY', key, 'rev', 1)
  redis.call('ZADD', DIRTY, 'NX', int(now), p)
  count('accepted', 1); count('pending', 1)
  receipt = 'coalesced'
else
  count('duplicate', 1)
end
if stale or (new > 0 and not row[1]) then
  claim = want(p)
  if new > 0 then receipt = 'queued' end
  if ARGV[9] ~= '' then
    enqueue(p, claim, row[3])
    claim = 0
  end
end
receive(ARGV[14])
redis.call('XADD', JOURNAL, 'MAXLEN', '~', ARGV[8], '*', 's', ARGV[3], 'e', ARGV[4],
  'k', ARGV[5], 'p', p, 'r', receipt)
return {receipt, claim, row[3] or ''}
"""

NOTE = (
    NAMES
    + RECEIVE
    + """
-- ARGV: receipt (ignored), source, event, kind, length of the journal,
--       delivery in the quarantine that is replayed ('' none)
receive(ARGV[6]); count(ARGV[1], 1)
redis.call('XADD', JOURNAL, 'MAXLEN', '~', ARGV[5], '*', 's', ARGV[2], 'e', ARGV[3],
  'k', ARGV[4], 'r', ARGV[1])
return 1
"""
)
"""Count an event that leaves no facts."""

CLAIM_DUE = (
    NAMES
    + CLAIM
    + """
-- ARGV: at most. Returns {party, claim} whose time has come
local out = {}
for _, p in ipairs(redis.call('ZRANGEBYSCORE', LATER, '-inf', int(now),
    'LIMIT', 0, ARGV[1])) do
  redis.call('ZREM', LATER, p)
  redis.call('ZADD', DIRTY, 'NX', int(now), p)
  out[#out + 1] = {p, want(p)}
end
return out
"""
)
"""Claim the parties whose next try is due."""

REVIVE = (
    NAMES
    + CLAIM
    + """
-- ARGV: party, claim number seen. Returns the new claim, 0: somebody else acted
local row = redis.call('HMGET', party_of(ARGV[1]), 'claims', 'claim')
if (row[1] or '0') ~= ARGV[2] then return 0 end
if not redis.call('ZSCORE', DIRTY, ARGV[1]) then return 0 end
if row[2] == 'later' and redis.call('ZSCORE', LATER, ARGV[1]) then return 0 end
return want(ARGV[1])
"""
)
"""Claim anew for a dirty party whose job is lost."""

WAKE = (
    NAMES
    + CLAIM
    + """
-- ARGV: party. Returns the new claim; 0: a job of it is on its way, or nothing waits
local p = ARGV[1]
local row = redis.call('HMGET', party_of(p), 'claim', 'account')
if row[1] == 'queued' or row[1] == 'wanted' then return 0 end
if not (redis.call('ZSCORE', DIRTY, p) or redis.call('ZSCORE', HELD, p)
    or redis.call('ZSCORE', PARKED, p)) then return 0 end
redis.call('ZREM', LATER, p)
redis.call('ZADD', DIRTY, 'NX', int(now), p)
if row[2] then redis.call('HDEL', account_of(row[2]), 'not_before') end
return want(p)
"""
)
"""Ask for a job of a party at once, by hand, where something of it waits."""
