-- Check and extend a lease; before a request to Vitally, record that it may arrive.
-- Called before each request of a job, and once a second by the heartbeat.
-- KEYS: none; all are in prelude.lua
-- ARGV: account, fence, lease (ms), whole writes owed from now on ('': unchanged),
--   JSON list of the traits that are about to be sent ('': none)
-- RETURNS: 1; 0: the lease is lost
-- USES: holding
if holder(ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('PEXPIRE', lease_of(ARGV[1]), ARGV[3])
if ARGV[4] ~= '' then
  redis.call('HSET', account_of(ARGV[1]), 'doubt', ARGV[4], 'sent', ARGV[5])
end
return 1
