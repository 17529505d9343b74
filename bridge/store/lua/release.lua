-- Give a lease back without an outcome.
-- Called when a job finds that its party belongs elsewhere.
-- KEYS: none; all are in prelude.lua
-- ARGV: account, fence
-- RETURNS: {party, claim, delivery, urgent} to queue jobs for
-- USES: claiming releasing
if redis.call('GET', lease_of(ARGV[1])) ~= ARGV[2] then return {} end
local wanted = {}
leave(ARGV[1], wanted)
return listed(wanted)
