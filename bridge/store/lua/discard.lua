-- Settle a party's held or parked events without a write.
-- Called by the command `discard`.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, length of the journal
-- RETURNS: how many events were discarded; -1: the party is neither held nor parked
-- USES: joining
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
  if not redis.call('ZSCORE', DIRTY, p) then redis.call('HDEL', key, 'deliveries') end
end
redis.call('ZREM', HELD, p)
redis.call('ZREM', PARKED, p)
redis.call('ZREM', MASS, p)
-- A newer event keeps waiting for its next try; a daily retry ends.
if row[4] ~= 'later' then redis.call('ZREM', LATER, p) end
redis.call('XADD', JOURNAL, 'MAXLEN', '~', ARGV[2], '*', 's', 'operator', 'e', '',
  'k', 'discard', 'p', p, 'r', 'discarded')
if row[3] then
  redis.call('HDEL', account_of(row[3]), 'rules')
  redis.call('LPUSH', history_of(row[3]),
    '{"at":' .. int(now) .. ',"did":"discarded","traits":{}}')
  redis.call('LTRIM', history_of(row[3]), 0, 4)
  local of = redis.call('HGET', account_of(row[3]), 'organization')
  if of then stir(of) end
end
return all
