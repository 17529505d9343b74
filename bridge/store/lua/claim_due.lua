-- Claim the parties whose next try is due.
-- The sweeper, four times a second.
-- KEYS: none; all are in prelude.lua
-- ARGV: at most
-- RETURNS: {party, claim} whose time has come
-- USES: claiming
local out = {}
for _, p in ipairs(redis.call('ZRANGEBYSCORE', LATER, '-inf', int(now),
    'LIMIT', 0, ARGV[1])) do
  redis.call('ZREM', LATER, p)
  redis.call('ZADD', DIRTY, 'NX', int(now), p)
  out[#out + 1] = {p, want(p)}
end
return out
