-- Take the lease of a party's account, and read all that a write depends on. With a
-- fence: read again under the lease that we hold.
-- Steps 1 and 2 of a job. A party without an account is read alone, without a lease.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, account ('': the one it belongs to so far), lease (ms), fence (0: take it)
-- RETURNS: {0}: another has the lease (it will queue us again), or ours is lost; else
--   {fence, account, now, record of the account,
--    {party, {rev, nudges, deliveries}, facts} for the party and each other one,
--    when the last reading of all accounts began, since when something is not settled}
local p, account, fence = ARGV[1], ARGV[2], tonumber(ARGV[4])
if account == '' then account = redis.call('HGET', party_of(p), 'account') or '' end
local names = {p}
if account ~= '' then
  local holder = redis.call('GET', lease_of(account))
  if fence ~= 0 then
    if holder ~= ARGV[4] then return {0} end
  elseif holder then
    redis.call('SADD', waiters_of(account), p)
    count('outcome:waited', 1)
    return {0}
  else
    fence = redis.call('INCR', FENCE)
    redis.call('SET', lease_of(account), fence, 'PX', ARGV[3])
  end
  for _, other in ipairs(redis.call('SMEMBERS', members_of(account))) do
    if other ~= p then names[#names + 1] = other end
  end
end
local found, since = {}, math.huge
for n, name in ipairs(names) do
  found[n] = {name,
    redis.call('HMGET', party_of(name), 'rev', 'nudges', 'deliveries'),
    redis.call('HGETALL', facts_of(name))}
  since = math.min(since, tonumber(redis.call('ZSCORE', DIRTY, name)) or since)
end
return {fence, account, int(now), redis.call('HGETALL', account_of(account)), found,
  redis.call('GET', LISTED), since < math.huge and int(since)}
