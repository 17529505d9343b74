-- Take the lease of a party's account, and read all that a write depends on. With a
-- fence: read again under the lease that we hold.
-- Steps 1 and 2 of a job. A party without an account is read alone, without a lease.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, account ('': the one it belongs to so far), lease (ms), fence (0: take it)
-- RETURNS: {0}: another has the lease (it will queue us again), or ours is lost; else
--   {fence, account, now, record of the account,
--    {party, {rev, nudges, deliveries}, facts, its account} for the party and each other
--    one, those of the accounts of an organization too,
--    when the last reading of all accounts began, since when something is not settled}
-- USES: holding joining
local RESTART_MS = 600000
local p, account, fence = ARGV[1], ARGV[2], tonumber(ARGV[4])
local restart = restarted()
if account == '' then account = redis.call('HGET', party_of(p), 'account') or '' end
local names, homes = {p}, {account}
local function add(members, home)
  for _, other in ipairs(members) do
    if other ~= p then names[#names + 1] = other; homes[#names] = home end
  end
end
if account ~= '' then
  local held_by = holder(account)
  if fence ~= 0 then
    if held_by ~= ARGV[4] then return {0} end
  elseif held_by then
    redis.call('SADD', waiters_of(account), p)
    count('outcome:waited', 1)
    return {0}
  else
    fence = fencing()
    redis.call('SET', lease_of(account), int(fence), 'PX', ARGV[3])
  end
  add(redis.call('SMEMBERS', members_of(account)), account)
  local of = organization_of(account)
  for _, child in ipairs(of and redis.call('SMEMBERS', children_of(of)) or {}) do
    add(redis.call('SMEMBERS', members_of(child)), child)
  end
else
  fence = fencing()
end
local found, since = {}, math.huge
for n, name in ipairs(names) do
  found[n] = {name,
    redis.call('HMGET', party_of(name), 'rev', 'nudges', 'deliveries'),
    redis.call('HGETALL', facts_of(name)), homes[n]}
  since = math.min(since, tonumber(redis.call('ZSCORE', DIRTY, name)) or since)
end
if account ~= '' and since < restart + RESTART_MS then
  -- Vitally may have a write that Redis has lost, or get it yet: the next one carries the
  -- whole document, and so does one after it (as after any request without an answer).
  local row = redis.call('HMGET', account_of(account), 'ledger', 'wrote_at')
  if row[1] and (tonumber(row[2]) or 0) < restart then
    redis.call('HSET', account_of(account), 'doubt', 2)
  end
end
return {fence, account, int(now), redis.call('HGETALL', account_of(account)), found,
  redis.call('GET', LISTED), since < math.huge and int(since)}
