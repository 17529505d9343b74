-- Count what a write would move into the measures of a mass change: each account once.
-- Called before a write that moves something, and again whenever its job comes back.
-- KEYS: none; all are in prelude.lua
-- ARGV: account, length of the window (ms), then measure and amount of each
-- RETURNS: number of all accounts, then of each measure: held (1 or 0), its total ('': not
--   known), accounts in the window, their amount, those since a minute ago, those before
--   this one, ms since this one was counted
local account, hour, FEW = ARGV[1], tonumber(ARGV[2]), 1000
-- New accounts that wait for their first write are not in the index yet; organizations
-- that wait are none.
local waiting = redis.call('ZCARD', DIRTY) - redis.call('HLEN', INDEX_OF_ORGANIZATIONS)
local out = {math.max(redis.call('HLEN', INDEX), waiting)}
-- What has been counted of a measure amounts to. Few are added up; of many the sum is
-- kept for a minute, since an older version may change an amount beside it.
local function sum_of(amounts, kept)
  local row, n = redis.call('HMGET', kept, 'number', 'sum'), redis.call('HLEN', amounts)
  if n > FEW and tonumber(row[1]) == n then return tonumber(row[2]) end
  local sum = 0
  for _, amount in ipairs(redis.call('HVALS', amounts)) do sum = sum + amount end
  redis.call('DEL', kept)
  return sum
end
for i = 3, #ARGV, 2 do
  local name, key, amounts = ARGV[i], mass_of(ARGV[i]), mass_of(ARGV[i] .. ':amounts')
  local kept = mass_of(name .. ':sum')
  local sum = sum_of(amounts, kept)
  local function amount_of(one) return tonumber(redis.call('HGET', amounts, one)) or 0 end
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', int(now - hour))) do
    sum = sum - amount_of(old)
    redis.call('ZREM', key, old)
    redis.call('HDEL', amounts, old)
  end
  redis.call('HSETNX', MASS_HOLD, name, '')
  -- No two at one instant, so that each has a rank of its own.
  local last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]) or 0
  redis.call('ZADD', key, 'NX', int(math.max(now, last + 1)), account)
  sum = sum - amount_of(account) + ARGV[i + 1]
  redis.call('HSET', amounts, account, ARGV[i + 1])
  redis.call('HSET', kept, 'number', redis.call('HLEN', amounts), 'sum', int(sum))
  if redis.call('PTTL', kept) < 0 then redis.call('PEXPIRE', kept, 60000) end
  for _, one in ipairs({key, amounts}) do redis.call('PEXPIRE', one, ARGV[2]) end
  local since = redis.call('ZSCORE', key, account)
  out[#out + 1] = {
    redis.call('HGET', MASS_HOLD, name) == '' and 0 or 1,
    redis.call('HGET', MASS_TOTALS, name) or '', redis.call('ZCARD', key), int(sum),
    redis.call('ZCOUNT', key, int(now - 60000), '+inf'),
    redis.call('ZRANK', key, account), int(math.max(0, now - since))}
end
return out
