-- Remove everything about a party, and about its account and those that it has left if no
-- other party is there, and so about its organization.
-- Called by the command `forget`. Its events stay counted, as settled and as forgotten.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, account that it stands for itself ('': it is a customer), prefix of a left
--   account's pseudo-party, JSON of the things of catalogues that it uses
-- RETURNS: 0: a worker has the lease; else {{key without ids, how many of its lines are
--   gone} for each, another party of the account ('': none)}
-- USES: joining
local p = ARGV[1]
local row = redis.call('HMGET', party_of(p), 'rev', 'settled', 'held', 'parked', 'account',
  'left')
local account = ARGV[2] ~= '' and ARGV[2] or row[5] or ''
local of = redis.call('HGET', account_of(account), 'organization') or ''
local leases = {lease_of(account), lease_of(p), lease_of(ORGANIZATION .. of)}
local left = {}
for one in string.gmatch(row[6] or '', '[^\t]+') do
  if one ~= account then
    left[#left + 1], leases[#leases + 1] = one, lease_of(one)
  end
end
if redis.call('EXISTS', unpack(leases)) > 0 then return 0 end
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
-- A party that stays; the one that stands for an organization if it has accounts.
local function heir(one)
  local organization = organization_of(one)
  return redis.call('SRANDMEMBER', members_of(one))
    or organization and redis.call('EXISTS', children_of(organization)) == 1 and one
end
local function erase(one)
  drop('account', 'EXISTS', account_of(one))
  drop('history', 'LLEN', history_of(one))
  redis.call('DEL', waiters_of(one), party_of(ARGV[3] .. one))
  note('index', index(one, ''))
  note('unknown', redis.call('HDEL', UNKNOWN, one))
  note('drift', redis.call('SREM', DRIFT, one))
  drop('instances', 'HLEN', instances_of(one))
  redis.call('SREM', OBJECTS_LATE, one)
  redis.call('HDEL', OBJECTS_OWED, one)
  for _, name in ipairs(redis.call('HKEYS', MASS_HOLD)) do
    note('mass', redis.call('ZREM', mass_of(name), one))
    redis.call('HDEL', mass_of(name .. ':amounts'), one)
  end
  for _, set in ipairs({DIRTY, HELD, PARKED, LATER, MASS}) do
    redis.call('ZREM', set, ARGV[3] .. one)
    if organization_of(one) then redis.call('ZREM', set, one) end
  end
  if organization_of(one) then redis.call('DEL', party_of(one)) end
end
local other = account ~= '' and heir(account)
if account ~= '' and not other then
  note('children', redis.call('SREM', children_of(of), account))
  erase(account)
elseif other then
  redis.call('HDEL', account_of(account), 'shared')
  -- What was written of both of them, with names; the next job writes it anew.
  drop('history', 'LLEN', history_of(account))
end
for _, one in ipairs(left) do
  if heir(one) then
    drop('history', 'LLEN', history_of(one))
    redis.call('HDEL', account_of(one), 'left')
  else erase(one) end
end
if of ~= '' then
  if heir(ORGANIZATION .. of) then stir(of) else erase(ORGANIZATION .. of) end
end
return {gone, other or ''}
