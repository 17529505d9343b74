-- Let parties that wait for the end of a dry run be tried, one after another: so many at
-- once that Redis is not held up. A worker that starts and is to write, until none is left.
-- KEYS: none; all are in prelude.lua
-- ARGV: from how far off on (ms) a next try means that, time between two of them (ms),
-- how many came before these, how many at most
-- RETURNS: how many parties these are
local waiting = redis.call(
  'ZRANGEBYSCORE', LATER, int(now + tonumber(ARGV[1])), '+inf', 'LIMIT', 0, ARGV[4]
)
for n, p in ipairs(waiting) do
  redis.call('ZADD', LATER, int(now + (ARGV[3] + n) * ARGV[2]), p)
  local account = redis.call('HGET', party_of(p), 'account')
  if account then redis.call('HDEL', account_of(account), 'not_before') end
end
if #waiting < tonumber(ARGV[4]) then redis.call('DEL', DRY_RUN) end
return #waiting
