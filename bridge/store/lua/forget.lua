-- Remove everything about a party, and about its account if no other party is left there.
-- Called by the command `forget`. Its events stay counted, as settled and as forgotten.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, account that it stands for itself ('': it is a customer), prefix of a left
--   account's pseudo-party, JSON of the things of catalogues that it uses
-- RETURNS: 0: a worker has the lease; else {how many of its events were counted,
--   {key without ids, how many of its lines are gone} for each,
--   another party of the account ('': none)}
-- USES: joining
local p = ARGV[1]
local row = redis.call('HMGET', party_of(p), 'rev', 'settled', 'held', 'parked', 'account',
  'organization')
local account = ARGV[2] ~= '' and ARGV[2] or row[5] or ''
if redis.call('EXISTS', lease_of(account), lease_of(p)) > 0 then return 0 end
local gone = {}
local function note(name, lines)
  if lines > 0 then gone[#gone + 1] = {name, lines} end
end
local function drop(name, size, key)
  note(name, redis.call(size, key)); redis.call('DEL', key)
end
local rev, settled = tonumber(row[1]) or 0, tonumber(row[2]) or 0
local held, parked = tonumber(row[3]) or 0, tonumber(row[4]) or 0
count('held', -held); count('parked', -parked)
count('pending', -(rev - settled - held - parked))
count('settled', rev - settled); count('forgotten', rev)
drop('facts', 'HLEN', facts_of(p)); drop('party', 'EXISTS', party_of(p))
for name, set in pairs({dirty = DIRTY, held = HELD, parked = PARKED, later = LATER,
  mass = MASS}) do
  note(name, redis.call('ZREM', set, p) + redis.call('ZREM', set, ARGV[3] .. account))
end
for name, set in pairs({incomplete = INCOMPLETE, unread = UNREAD}) do
  note(name, redis.call('SREM', set, p))
end
for _, thing in ipairs(cjson.decode(ARGV[4])) do
  note('uses', redis.call('SREM', uses_of(thing), p))
end
local lines = {}
for _, entry in ipairs(redis.call('XRANGE', JOURNAL, '-', '+')) do
  for n = 1, #entry[2], 2 do
    if entry[2][n] == 'p' and entry[2][n + 1] == p then lines[#lines + 1] = entry[1] end
  end
end
for _, id in ipairs(lines) do redis.call('XDEL', JOURNAL, id) end
note('journal', #lines)
redis.call('SREM', members_of(account), p)
if row[6] then
  note('children', redis.call('SREM', children_of(row[6]), p))
  stir(row[6])
end
local organization = organization_of(account)
local other = account ~= '' and redis.call('SRANDMEMBER', members_of(account))
  or organization and redis.call('SRANDMEMBER', children_of(organization))
if account ~= '' and not other then
  drop('account', 'EXISTS', account_of(account))
  drop('history', 'LLEN', history_of(account))
  redis.call('DEL', waiters_of(account), party_of(ARGV[3] .. account))
  note('index', index(account, ''))
  note('unknown', redis.call('HDEL', UNKNOWN, account))
  note('drift', redis.call('SREM', DRIFT, account))
  drop('instances', 'HLEN', instances_of(account))
  redis.call('SREM', OBJECTS_LATE, account)
  for _, name in ipairs(redis.call('HKEYS', MASS_HOLD)) do
    note('mass', redis.call('ZREM', mass_of(name), account))
    redis.call('HDEL', mass_of(name .. ':amounts'), account)
  end
end
return {rev, gone, other or ''}
