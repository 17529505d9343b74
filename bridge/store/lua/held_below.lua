-- Count which accounts of an organization a mass change may hold. Called before each of
-- its writes.
-- KEYS: none; all are in prelude.lua
-- ARGV: for how long (ms) an account that was counted may still be held, the parties of
--   the accounts
-- RETURNS: parties that are held as part of a mass change, those that may be in a moment
local held, soon = 0, 0
local measures = redis.call('HKEYS', MASS_HOLD)
for n = 2, #ARGV do
  local account = redis.call('HGET', party_of(ARGV[n]), 'account')
  if redis.call('ZSCORE', MASS, ARGV[n]) then held = held + 1
  elseif account and redis.call('ZSCORE', DIRTY, ARGV[n]) then
    for _, name in ipairs(measures) do
      local counted = tonumber(redis.call('ZSCORE', mass_of(name), account)) or 0
      if counted > now - tonumber(ARGV[1]) then soon = soon + 1 end
    end
  end
end
return {held, soon}
