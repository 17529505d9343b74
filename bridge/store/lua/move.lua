-- Move a party to another account; both accounts become dirty.
-- Called when a job finds that its party belongs elsewhere, before it starts again.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, new account ('': none), prefix of a left account's pseudo-party
-- RETURNS: {party, claim, delivery, urgent} to queue jobs for
-- USES: claiming joining
local p, new = ARGV[1], ARGV[2]
local old = redis.call('HGET', party_of(p), 'account') or ''
if old == new then return {} end
if new ~= '' then
  redis.call('SADD', members_of(new), p)
  redis.call('HSET', party_of(p), 'account', new)
  if redis.call('HGET', account_of(new), 'left') == p then  -- it is back
    redis.call('HDEL', account_of(new), 'left')
  end
else
  redis.call('HDEL', party_of(p), 'account')
end
redis.call('HDEL', party_of(p), 'known', 'organization')
redis.call('ZADD', DIRTY, 'NX', int(now), p)
if old == '' then return {} end
-- Messages of the old account may still be on their way.
if new ~= '' then redis.call('HSET', account_of(new), 'joined', 1) end
redis.call('SREM', members_of(old), p)
leave_behind(p, old)
local of = redis.call('HGET', account_of(old), 'organization')
if of then leave_behind(p, ORGANIZATION .. of) end
local heir = redis.call('SRANDMEMBER', members_of(old))
if not heir then
  local known = redis.call('HMGET', account_of(old), 'ledger', 'doubt')
  if not known[1] and not known[2] then
    join(old, '', '', {})
    return {}
  end
  heir = ARGV[3] .. old
end
redis.call('HSET', account_of(old), 'left', p)  -- why it is written without an event
redis.call('ZADD', DIRTY, 'NX', int(now), heir)
return {claimed(heir, want(heir))}
