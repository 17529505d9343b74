-- Record a job that ended in an unexpected exception. The second one on the same facts
-- parks the party: it would fail again, so a person has to look.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, job, why
-- RETURNS: whether the party is parked, and the previous failed job ('': none)
-- USES: settling
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
