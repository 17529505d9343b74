-- Read all that a write of each account depends on, without a lease: for a plan.
-- KEYS: none; all are in prelude.lua
-- ARGV: JSON: list of {account, parties that are about to belong to it}
-- RETURNS: for each account what begin returns, with 0 in place of a fence
--   and nothing in place of the last
-- USES: joining
local out = {}
for n, one in ipairs(cjson.decode(ARGV[1])) do
  local names, known = {}, {}
  local of = organization_of(one[1])
  for _, list in ipairs({redis.call('SMEMBERS', members_of(one[1])), one[2],
      of and redis.call('SMEMBERS', children_of(of))}) do
    for _, name in ipairs(list) do
      if not known[name] then names[#names + 1] = name end
      known[name] = true
    end
  end
  local found = {}
  for m, name in ipairs(names) do
    found[m] = {name,
      redis.call('HMGET', party_of(name), 'rev', 'nudges', 'deliveries'),
      redis.call('HGETALL', facts_of(name))}
  end
  out[n] = {0, one[1], int(now), redis.call('HGETALL', account_of(one[1])), found,
    redis.call('GET', LISTED), false}
end
return out
