-- Take a lease, or join the waiters that its holder queues again.
-- Called before a refresh.
-- KEYS: none; all are in prelude.lua
-- ARGV: account, party, lease (ms)
-- RETURNS: the fencing number; 0: another has the lease
-- USES: holding
if redis.call('EXISTS', lease_of(ARGV[1])) == 1 then
  redis.call('SADD', waiters_of(ARGV[1]), ARGV[2])
  count('outcome:waited', 1)
  return 0
end
local fence = fencing()
redis.call('SET', lease_of(ARGV[1]), int(fence), 'PX', ARGV[3])
return fence
