-- Let a party wait for its next try. The end of a job that could not be done now.
-- The party's claim stays, so events that arrive in the meantime wait with it.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, delay (ms), account ('': none), fence, JSON {field: text} of the account,
--   row of its index ('': as it is), outcome to count ('': none); with a row: unknown
--   (text or ''), JSON {party: whether it is incomplete}, JSON: organization and shared as
--   for ack
-- RETURNS: {party, claim, delivery, urgent} to queue jobs for
-- USES: claiming releasing holding joining
local wanted = {}
local due = int(now + tonumber(ARGV[2]))
redis.call('ZADD', LATER, due, ARGV[1])
redis.call('HSET', party_of(ARGV[1]), 'claim', 'later')
redis.call('ZADD', DIRTY, 'NX', int(now), ARGV[1])
if ARGV[7] ~= '' then count('outcome:' .. ARGV[7], 1) end
if ARGV[3] == '' then return {} end
if holder(ARGV[3]) ~= ARGV[4] then
  -- Another worker has the lease, and our request may overwrite what it wrote.
  redis.call('HINCRBY', account_of(ARGV[3]), 'stale', 1)
else
  for name, text in pairs(cjson.decode(ARGV[5])) do
    redis.call('HSET', account_of(ARGV[3]), name, text)
  end
  redis.call('HSET', account_of(ARGV[3]), 'not_before', due)
  if ARGV[6] ~= '' then
    index(ARGV[3], ARGV[6])
    if ARGV[8] == '' then redis.call('HDEL', UNKNOWN, ARGV[3])
    else redis.call('HSET', UNKNOWN, ARGV[3], ARGV[8]) end
    local names = {}
    for p, incomplete in pairs(cjson.decode(ARGV[9])) do
      redis.call(incomplete and 'SADD' or 'SREM', INCOMPLETE, p)
      names[#names + 1] = p
    end
    local joins = cjson.decode(ARGV[10])
    join(ARGV[3], joins.organization, joins.shared, names)
  end
  redis.call('SREM', waiters_of(ARGV[3]), ARGV[1])
  leave(ARGV[3], wanted)
end
return listed(wanted)
