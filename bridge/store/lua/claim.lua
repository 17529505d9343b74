-- Claim a job for parties: for those whose next try is due, for one whose job is lost,
-- for one that a person wants tried at once (`by hand`), or for one to be looked at.
-- Called by the sweeper (four times a second, and for each job surely lost), `retry`,
-- `forget` and `reconcile`.
-- KEYS: none; all are in prelude.lua
-- ARGV: 'due', at most; or 'lost', party, number of the claim that is lost; or
--   'by hand', party; or 'look', party
-- RETURNS: {party, claim, delivery, urgent} to queue jobs for
-- USES: claiming
local how, p = ARGV[1], ARGV[2]
if how == 'due' then
  local out = {}
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', LATER, '-inf', int(now),
      'LIMIT', 0, ARGV[2])) do
    redis.call('ZREM', LATER, one)
    redis.call('ZADD', DIRTY, 'NX', int(now), one)
    out[#out + 1] = claimed(one, want(one))
  end
  return out
end
local row = redis.call('HMGET', party_of(p), 'claims', 'claim', 'account')
local dirty = redis.call('ZSCORE', DIRTY, p)
if how == 'lost' then
  -- Another worker has acted since, or the party waits for its next try.
  local waits = row[2] == 'later' and redis.call('ZSCORE', LATER, p)
  if (row[1] or '0') ~= ARGV[3] or not dirty or waits then return {} end
else
  local on_its_way = row[2] == 'queued' or row[2] == 'wanted'
  local open = dirty or redis.call('ZSCORE', HELD, p) or redis.call('ZSCORE', PARKED, p)
  if on_its_way or not (open or how == 'look') then return {} end
  redis.call('ZREM', LATER, p)
  redis.call('ZADD', DIRTY, 'NX', int(now), p)
  if row[3] then redis.call('HDEL', account_of(row[3]), 'not_before') end
end
return {claimed(p, want(p))}
