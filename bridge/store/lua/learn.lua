-- Add the facts that a refresh read from the source, under the party's lease.
-- They are not an event, so the revision stays as it is.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, fence, then pairs of field and fact
-- RETURNS: 1; 0: the lease is lost
if redis.call('GET', lease_of(ARGV[1])) ~= ARGV[2] then return 0 end
for i = 3, #ARGV, 2 do
  redis.call('HSET', facts_of(ARGV[1]), ARGV[i], ARGV[i + 1])
end
redis.call('HDEL', party_of(ARGV[1]), 'read_after')
return 1
