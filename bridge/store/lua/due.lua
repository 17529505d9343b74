-- Let parties with something unsettled be tried soon, one after another, by the sweeper.
-- Called by `retry` and the console, for more parties than one person waits for.
-- KEYS: none; all are in prelude.lua
-- ARGV: when the first is due (ms from now), time between two of them (ms), parties
-- RETURNS: how many are tried
local n = 0
for i = 3, #ARGV do
  local p = ARGV[i]
  local row = redis.call('HMGET', party_of(p), 'claim', 'account')
  local on_its_way = row[1] == 'queued' or row[1] == 'wanted'
  local open = redis.call('ZSCORE', DIRTY, p) or redis.call('ZSCORE', HELD, p)
    or redis.call('ZSCORE', PARKED, p)
  if open and not on_its_way then
    redis.call('ZADD', LATER, int(now + ARGV[1] + n * ARGV[2]), p)
    if row[2] then redis.call('HDEL', account_of(row[2]), 'not_before') end
    n = n + 1
  end
end
return n
