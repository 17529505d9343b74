-- Replace the facts of the party up to revision `read` by fewer that fold to the same:
-- `less.gone` lists fields to delete, `less.put` maps fields to rows.
local function compact(p, read, less)
  for _, field in ipairs(less.gone) do redis.call('HDEL', facts_of(p), field) end
  for field, row in pairs(less.put) do redis.call('HSET', facts_of(p), field, row) end
  redis.call('HSET', party_of(p), 'compacted', int(read))
end
-- Move the party's events up to revision `read` into the state `to` (settled, held or
-- parked). Returns whether something newer waits: its own facts, or a change of a
-- catalogue's thing that it uses (`nudged`).
local function settle(p, read, nudged, to, why)
  local key = party_of(p)
  local row = redis.call('HMGET', key, 'rev', 'settled', 'held', 'parked', 'nudges')
  local rev, settled = tonumber(row[1]) or 0, tonumber(row[2]) or 0
  local held, parked = tonumber(row[3]) or 0, tonumber(row[4]) or 0
  local fresh = math.max(0, read - settled - held - parked)
  local all = held + parked + fresh
  count('pending', -fresh); count('held', -held); count('parked', -parked)
  count(to, all)
  if to == 'settled' then settled = settled + all end
  redis.call('HSET', key, 'settled', int(settled))
  redis.call('HDEL', key, 'stumbled')
  if why == '' then redis.call('HDEL', key, 'why')
  else redis.call('HSET', key, 'why', why) end
  for name, set in pairs({held = HELD, parked = PARKED}) do
    if to == name then
      redis.call('HSET', key, name, int(all))
      redis.call('ZADD', set, 'NX', int(now), p)
    else
      redis.call('HDEL', key, name)  -- absent is 0, and smaller
      redis.call('ZREM', set, p)
    end
  end
  -- The party no longer waits for a next try, and that claim is over.
  redis.call('ZREM', LATER, p)
  if redis.call('HGET', key, 'claim') == 'later' then
    redis.call('HDEL', key, 'claim', 'claimed_at', 'job')
  end
  if rev > read then redis.call('ZADD', DIRTY, 'XX', int(now), p)
  elseif (tonumber(row[5]) or 0) > nudged then redis.call('ZADD', DIRTY, int(now), p)
  else
    redis.call('ZREM', DIRTY, p)
    redis.call('HDEL', key, 'urgent')
    return false
  end
  return true
end
