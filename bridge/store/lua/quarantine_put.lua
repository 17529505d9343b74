-- Keep an authentic delivery that could not be read; the oldest ones make room for it.
-- Called by the ingress.
-- KEYS: none; all are in prelude.lua
-- ARGV: id, JSON, most deliveries, source, event, reason, events, most bytes,
--   n (use at most 1/n of maxmemory), delivery ('': none)
-- RETURNS: nothing
-- USES: quarantining
local id, n = ARGV[1], tonumber(ARGV[7])
count('received', n); count('quarantined', n)
redis.call('XADD', JOURNAL, 'MAXLEN', '~', 10000, '*', 's', ARGV[4], 'e', ARGV[5],
  'k', ARGV[6], 'r', 'quarantined', 'd', ARGV[10])
local room = tonumber(ARGV[8])
local info = redis.pcall('INFO', 'memory')
local most = type(info) == 'string' and tonumber(string.match(info, 'maxmemory:(%d+)'))
if most and most > 0 then room = math.min(room, math.floor(most / ARGV[9])) end
if #ARGV[2] > room then
  count('quarantined', -n); count('ignored', n); count('quarantine_dropped', 1)
  return
end
redis.call('HSET', QUARANTINED_EVENTS, id,
  n + (redis.call('ZSCORE', ORDER, id) and counted(id) or 0))
count('quarantine_bytes', #ARGV[2] - size(id))
redis.call('HSET', SHELF, id, ARGV[2])
redis.call('ZADD', ORDER, int(now), id)
while true do
  local oldest = redis.call('ZRANGE', ORDER, 0, 0)
  local bytes = tonumber(redis.call('HGET', COUNTERS, 'quarantine_bytes'))
  if not oldest[1] or (bytes <= room
      and redis.call('ZCARD', ORDER) <= tonumber(ARGV[3])) then break end
  gone(oldest[1], 'ignored')
  count('quarantine_dropped', 1)
end
