-- Read all that a write of each account depends on, without a lease: for a plan.
-- KEYS: none; all are in prelude.lua
-- ARGV: JSON: list of {account, parties that are about to belong to it, the accounts of an
--   organization, each as {account, such parties of it} (null: those that it has)}
-- RETURNS: for each account what begin returns, with 0 in place of a fence
--   and nothing in place of the last
-- USES: joining
local out = {}
for n, one in ipairs(cjson.decode(ARGV[1])) do
  local found, known = {}, {}
  local function add(home, joining)
    for _, list in ipairs({redis.call('SMEMBERS', members_of(home)), joining}) do
      for _, name in ipairs(list) do
        if not known[home .. ' ' .. name] then
          found[#found + 1] = {name,
            redis.call('HMGET', party_of(name), 'rev', 'nudges', 'deliveries'),
            redis.call('HGETALL', facts_of(name)), home}
        end
        known[home .. ' ' .. name] = true
      end
    end
  end
  add(one[1], one[2])
  local of, children = organization_of(one[1]), one[3]
  if children ~= cjson.null then
    for _, child in ipairs(children) do add(child[1], child[2]) end
  elseif of then
    for _, child in ipairs(redis.call('SMEMBERS', children_of(of))) do add(child, {}) end
  end
  out[n] = {0, one[1], int(now), redis.call('HGETALL', account_of(one[1])), found,
    redis.call('GET', LISTED), false}
end
return out
