-- Organizations: an account `organization:ID`, and the parties of the accounts in it.
local ORGANIZATION = 'organization:'
local function organization_of(account)
  return string.sub(account, 1, #ORGANIZATION) == ORGANIZATION
    and string.sub(account, #ORGANIZATION + 1) or nil
end
-- Have an organization looked at: something of one of its accounts has changed.
local function stir(organization)
  local p = ORGANIZATION .. organization
  redis.call('HINCRBY', party_of(p), 'nudges', 1)
  redis.call('HSET', party_of(p), 'account', p)
  local claim = redis.call('HGET', party_of(p), 'claim')
  if claim == 'queued' or claim == 'wanted' then
    -- A job is on its way; if it is lost, the sweeper queues another.
    redis.call('ZADD', DIRTY, 'NX', int(now), p)
    return
  end
  local due = redis.call('ZSCORE', LATER, p)
  -- A write that failed waits for its next try.
  local waits = claim == 'later' and redis.call('EXISTS', DRY_RUN) == 0
  if not due or (not waits and tonumber(due) > now) then
    redis.call('ZADD', LATER, int(now), p)
  end
end
-- Make a party one of its organization ('': none), and have that one looked at, and the
-- one that it has left.
local function join(p, organization)
  local before = redis.call('HGET', party_of(p), 'organization') or ''
  if before ~= organization then
    if before ~= '' then
      redis.call('SREM', children_of(before), p)
      stir(before)
    end
    if organization == '' then redis.call('HDEL', party_of(p), 'organization')
    else
      redis.call('SADD', children_of(organization), p)
      redis.call('HSET', party_of(p), 'organization', organization)
    end
  end
  if organization ~= '' then stir(organization) end
end
