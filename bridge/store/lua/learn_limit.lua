-- Store what a reply says about Vitally's limit and about the cost of a write; the cost
-- is the median of the last nine observations.
-- KEYS: rate
-- ARGV: limit, remaining, was a write (1 or 0)
-- RETURNS: the cost of a write in units
local limit, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local row = redis.call('HMGET', KEYS[1], 'left', 'at', 'seen')
local before = tonumber(row[1] or limit)
local elapsed = now - tonumber(row[2] or now)
local refill = math.min(limit - before, elapsed * limit / 60000)
redis.call('HSET', KEYS[1], 'limit', limit, 'left', left,
  'at', string.format('%.0f', now))
if ARGV[3] ~= '1' then return 0 end
local cost = math.max(1, math.min(100, math.floor(before + refill - left + 0.5)))
local seen = {}
for n in string.gmatch(row[3] or '', '%d+') do seen[#seen + 1] = tonumber(n) end
seen[#seen + 1] = cost
while #seen > 9 do table.remove(seen, 1) end
redis.call('HSET', KEYS[1], 'seen', table.concat(seen, ' '))
table.sort(seen)
local median = seen[math.floor(#seen / 2) + 1]
redis.call('HSET', KEYS[1], 'cost', median)
return median
