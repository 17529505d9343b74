-- Store what a look has shown of an account's instances, and what is about to be sent.
-- Called before each batch, since a lost lease must stop it.
-- KEYS: none; all are in prelude.lua
-- ARGV: account, party (whose job it is), fence, JSON: put {instance: row}, gone
--   [instance], late (whether Vitally has not shown some for a while)
-- RETURNS: 1; 0: the lease is lost
-- USES: holding
if holder(ARGV[1]) ~= ARGV[3] then return 0 end
local given = cjson.decode(ARGV[4])
for instance, row in pairs(given.put) do
  redis.call('HSET', instances_of(ARGV[1]), instance, row)
end
for _, instance in ipairs(given.gone) do
  redis.call('HDEL', instances_of(ARGV[1]), instance)
end
-- From now on what was confirmed before may not be so, whatever becomes of the job.
redis.call('HSET', account_of(ARGV[1]), 'objects', '-')
redis.call('HSET', OBJECTS_OWED, ARGV[1], ARGV[2])
redis.call(given.late and 'SADD' or 'SREM', OBJECTS_LATE, ARGV[1])
return 1
