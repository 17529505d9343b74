-- Organizations: an account `organization:ID`, and the accounts in it.
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
-- Note that a party has left an account, or its account an organization: what that keeps of
-- the party goes with it, once it is forgotten.
local function leave_behind(p, account)
  local left = redis.call('HGET', party_of(p), 'left') or '\t'
  if not string.find(left, '\t' .. account .. '\t', 1, true) then
    redis.call('HSET', party_of(p), 'left', left .. account .. '\t')
  end
end
-- Make an account one of an organization ('': of none; nil: as so far), and have that one
-- looked at if what it `shared` there may differ, and the one that it has left. Its parties
-- say so too: an export reads them last.
local function join(account, organization, shared, parties)
  local row = redis.call('HMGET', account_of(account), 'organization', 'shared')
  local before = row[1] or ''
  organization = organization or before
  if before ~= organization then
    if before ~= '' then
      redis.call('SREM', children_of(before), account)
      redis.call('HDEL', account_of(account), 'organization', 'shared')
      stir(before)
    end
    if organization ~= '' then
      redis.call('SADD', children_of(organization), account)
    end
  end
  for _, p in ipairs(parties) do
    if before ~= '' and before ~= organization
      and redis.call('EXISTS', party_of(p)) == 1 then
      leave_behind(p, ORGANIZATION .. before)
    end
    if organization == '' then redis.call('HDEL', party_of(p), 'organization')
    elseif redis.call('EXISTS', party_of(p)) == 1 then
      redis.call('HSET', party_of(p), 'organization', organization)
    end
  end
  if organization ~= '' and (before ~= organization or row[2] ~= shared) then
    redis.call('HSET', account_of(account), 'organization', organization,
      'shared', shared)
    stir(organization)
  end
end
