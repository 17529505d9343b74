-- The deliveries in the quarantine: their size, and how to remove one.
local SHELF, ORDER = 'vb1:quarantine', 'vb1:quarantined'
local function counted(id)
  return tonumber(redis.call('HGET', QUARANTINED_EVENTS, id) or 1)
end
local function size(id) return redis.call('HSTRLEN', SHELF, id) end
-- Remove a delivery; its events count as `to` from now on.
local function gone(id, to)
  local n = counted(id)
  count('quarantined', -n); count(to, n); count('quarantine_bytes', -size(id))
  redis.call('HDEL', SHELF, id)
  redis.call('HDEL', QUARANTINED_EVENTS, id)
  redis.call('ZREM', ORDER, id)
end
-- Version 0.1 did not count bytes, nor deliveries that had left the quarantine.
if redis.call('HEXISTS', COUNTERS, 'quarantine_bytes') == 0 then
  local ids, bytes = redis.call('ZRANGE', ORDER, 0, -1), 0
  for _, id in ipairs(ids) do
    bytes = bytes + size(id)
    redis.call('HSET', QUARANTINED_EVENTS, id, 1)
  end
  local left = (redis.call('HGET', COUNTERS, 'quarantined') or 0) - #ids
  count('quarantined', -left); count('ignored', left)
  redis.call('HSET', COUNTERS, 'quarantine_bytes', bytes)
end
