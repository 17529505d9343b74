-- Let every party that waits for the end of a dry run be tried, one after another.
-- A worker that starts and is to write.
-- KEYS: none; all are in prelude.lua
-- ARGV: from how far off on (ms) a next try means that, time between two of them (ms)
-- RETURNS: how many parties waited
local waiting = redis.call('ZRANGEBYSCORE', LATER, int(now + tonumber(ARGV[1])), '+inf')
for n, p in ipairs(waiting) do
  redis.call('ZADD', LATER, int(now + n * tonumber(ARGV[2])), p)
  local account = redis.call('HGET', party_of(p), 'account')
  if account then redis.call('HDEL', account_of(account), 'not_before') end
end
redis.call('DEL', DRY_RUN)
return #waiting
