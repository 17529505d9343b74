-- Store one event's facts of one party, and claim a job. Facts of events enter only here.
-- Repeating it changes nothing; another rendering of a stored event is kept beside it.
-- The last step of the ingress before the job is queued.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, digest of the event, source, event, kind, stale claim (ms),
--   length of the ring, length of the journal,
--   delivery ('': none), delivery in the quarantine that is replayed ('': none),
--   urgent ('1' or ''), then pairs of field and fact
-- RETURNS: receipt, number of the claim to queue a job for (0: none), known account
-- USES: claiming receiving tracing
local p, digest = ARGV[1], ARGV[2]
local key, facts, new = party_of(p), facts_of(p), 0
local seen = redis.call('ZSCORE', RECENT, digest)
for i = 12, #ARGV, 2 do
  local field, row = ARGV[i], ARGV[i + 1]
  if not seen and redis.call('HSETNX', facts, field, row) == 1 then
    new = new + 1
  else
    -- An event that was seen and is gone was compacted, so it no longer matters.
    local had = redis.call('HGET', facts, field)
    if had and had ~= row then
      local form = string.sub(redis.sha1hex(row), 1, 12)
      new = new + redis.call('HSETNX', facts, field .. '\t' .. form, row)
    end
  end
end
if not seen then
  redis.call('ZADD', RECENT, int(now), digest)
  redis.call('ZREMRANGEBYRANK', RECENT, 0, -tonumber(ARGV[7]) - 1)
end
local row = redis.call('HMGET', key, 'claim', 'claimed_at', 'known', 'deliveries',
  'urgent')
local stale = row[1] == 'wanted' and now - tonumber(row[2]) > tonumber(ARGV[6])
local receipt, claim, rev = 'duplicate', 0, ''
if new > 0 then
  rev = redis.call('HINCRBY', key, 'rev', 1)
  remember(p, row[4], ARGV[9])
  redis.call('ZADD', DIRTY, 'NX', int(now), p)
  count('accepted', 1); count('pending', 1)
  receipt = 'coalesced'
else
  count('duplicate', 1)
end
local urgent = new > 0 and ARGV[11] == '1'
if urgent then redis.call('HSET', key, 'urgent', 1) end
-- An urgent event does not wait for a job that is behind others: it gets one of its own.
local passes = urgent and row[1] == 'queued' and not row[5]
-- In a dry run no try is due; a job of each event keeps the index right.
local idle = not row[1]
  or (row[1] == 'later' and redis.call('EXISTS', DRY_RUN) == 1)
if stale or passes or (new > 0 and idle) then
  claim = want(p)
  if new > 0 and not passes then receipt = 'queued' end
end
receive(ARGV[10])
redis.call('XADD', JOURNAL, 'MAXLEN', '~', ARGV[8], '*', 's', ARGV[3], 'e', ARGV[4],
  'k', ARGV[5], 'p', p, 'r', receipt, 'n', rev, 'd', ARGV[9])
return {receipt, claim, row[3] or ''}
