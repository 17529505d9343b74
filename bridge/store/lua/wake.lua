-- Ask for a job of a party at once, where something of it waits.
-- The command `retry`.
-- KEYS: none; all are in prelude.lua
-- ARGV: party
-- RETURNS: the new claim; 0: a job of it is on its way, or nothing waits
-- USES: claiming
local p = ARGV[1]
local row = redis.call('HMGET', party_of(p), 'claim', 'account')
if row[1] == 'queued' or row[1] == 'wanted' then return 0 end
if not (redis.call('ZSCORE', DIRTY, p) or redis.call('ZSCORE', HELD, p)
    or redis.call('ZSCORE', PARKED, p)) then return 0 end
redis.call('ZREM', LATER, p)
redis.call('ZADD', DIRTY, 'NX', int(now), p)
if row[2] then redis.call('HDEL', account_of(row[2]), 'not_before') end
return want(p)
