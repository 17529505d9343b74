-- Store what is about to be sent of an account's instances, or what a look has shown.
-- Called before each batch, since a lost lease must stop it, and after each look.
-- KEYS: none; all are in prelude.lua
-- ARGV: account, fence, JSON: put {instance: row}, gone [instance], sent and confirmed (how
--   many are to be counted), late (whether Vitally has not shown some for a while)
-- RETURNS: 1; 0: the lease is lost
-- USES: holding
if holder(ARGV[1]) ~= ARGV[2] then return 0 end
local given = cjson.decode(ARGV[3])
for instance, row in pairs(given.put) do
  redis.call('HSET', instances_of(ARGV[1]), instance, row)
end
for _, instance in ipairs(given.gone) do
  redis.call('HDEL', instances_of(ARGV[1]), instance)
end
-- From now on what was confirmed before may not be so, whatever becomes of the job.
if given.sent > 0 then redis.call('HSET', account_of(ARGV[1]), 'objects', '-') end
count('objects_sent', given.sent)
count('objects_confirmed', given.confirmed)
redis.call(given.late and 'SADD' or 'SREM', OBJECTS_LATE, ARGV[1])
return 1
