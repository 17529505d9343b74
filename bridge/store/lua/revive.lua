-- Claim anew for a dirty party whose job is lost.
-- The sweeper, for each that it has suspected for two seconds.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, claim number seen
-- RETURNS: the new claim; 0: somebody else acted
-- USES: claiming
local row = redis.call('HMGET', party_of(ARGV[1]), 'claims', 'claim')
if (row[1] or '0') ~= ARGV[2] then return 0 end
if not redis.call('ZSCORE', DIRTY, ARGV[1]) then return 0 end
if row[2] == 'later' and redis.call('ZSCORE', LATER, ARGV[1]) then return 0 end
return want(ARGV[1])
