-- End the hold of a mass change, and begin to count anew. Called by `release` and `discard`.
-- KEYS: none; all are in prelude.lua
-- ARGV: 1: the accounts' next write is not judged; 0: it is; prefix of a left account's
--   pseudo-party
-- RETURNS: the parties that were held
for _, name in ipairs(redis.call('HKEYS', MASS_HOLD)) do
  redis.call('DEL', mass_of(name), mass_of(name .. ':amounts'), mass_of(name .. ':sum'))
end
redis.call('DEL', MASS_HOLD)
local parties = redis.call('ZRANGE', MASS, 0, -1)
for _, p in ipairs(ARGV[1] == '1' and parties or {}) do
  local account = redis.call('HGET', party_of(p), 'account')
  if string.sub(p, 1, #ARGV[2]) == ARGV[2] then account = string.sub(p, #ARGV[2] + 1) end
  if account then redis.call('HSET', account_of(account), 'released', 1) end
end
return parties
