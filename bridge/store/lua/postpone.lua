-- Let a party wait for its next try. The end of a job that could not be done now.
-- The party's claim stays, so events that arrive in the meantime wait with it.
-- KEYS: none; all are in prelude.lua
-- ARGV: JSON: party, ms (from now), account ('': none), fence, fields {name: text} of the
--   account, word (outcome to count; '': none), row of the index ('': as it is); with
--   a row: unknown (text or ''), members {party: whether it is incomplete}, joins
--   {organization, shared} as for ack
-- RETURNS: {party, claim, delivery, urgent} to queue jobs for
-- USES: claiming releasing holding joining
local wait, wanted = cjson.decode(ARGV[1]), {}
local account = wait.account
local due = int(now + wait.ms)
redis.call('ZADD', LATER, due, wait.party)
redis.call('HSET', party_of(wait.party), 'claim', 'later')
redis.call('ZADD', DIRTY, 'NX', int(now), wait.party)
if wait.word ~= '' then count('outcome:' .. wait.word, 1) end
if account == '' then return {} end
if holder(account) ~= wait.fence then
  -- Another worker has the lease, and our request may overwrite what it wrote.
  redis.call('HINCRBY', account_of(account), 'stale', 1)
else
  for name, text in pairs(wait.fields) do
    redis.call('HSET', account_of(account), name, text)
  end
  redis.call('HSET', account_of(account), 'not_before', due)
  if wait.row ~= '' then
    index(account, wait.row)
    if wait.unknown == '' then redis.call('HDEL', UNKNOWN, account)
    else redis.call('HSET', UNKNOWN, account, wait.unknown) end
    local names = {}
    for p, incomplete in pairs(wait.members) do
      redis.call(incomplete and 'SADD' or 'SREM', INCOMPLETE, p)
      names[#names + 1] = p
    end
    join(account, wait.joins.organization, wait.joins.shared, names)
  end
  redis.call('SREM', waiters_of(account), wait.party)
  leave(account, wanted)
end
return listed(wanted)
