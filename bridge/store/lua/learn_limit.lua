-- Store what a reply says about Vitally's limit and about the cost of its kind of request:
-- the third lowest of thirty observations, since what others send only adds to one. Those of
-- a PUT are in `seen` and `cost` (where older versions have those of all writes), others in
-- `seen:POST` and so on; before the first, a write costs what the other kind does, and a
-- read 1.
-- KEYS: rate
-- ARGV: limit, remaining, kind (method; '': it says nothing of a cost), ms since the request
--   was sent, cost of a write before any observation, share of the limit below which others
--   use it
-- RETURNS: nothing
local limit, left, at = tonumber(ARGV[1]), tonumber(ARGV[2]), now - tonumber(ARGV[4])
local of = ARGV[3] == 'PUT' and '' or ':' .. ARGV[3]
local other = of == '' and 'cost:POST' or 'cost'
local row = redis.call('HMGET', KEYS[1], 'left', 'at', 'seen' .. of, other)
local elapsed = at - (tonumber(row[2]) or 0)
-- Further back only a clock that was put back can be.
if elapsed < 0 and elapsed > -60000 then return end
redis.call('HSET', KEYS[1], 'limit', limit, 'left', left, 'at', int(at))
if left < limit * tonumber(ARGV[6]) then
  redis.call('HSET', KEYS[1], 'scarce', int(now))
end
-- In a longer time others have sent something.
if ARGV[3] == '' or not row[1] or elapsed > 1000 then return end
local before = tonumber(row[1])
local refill = math.min(limit - before, elapsed * limit / 60000)
-- Rounded up, since both are whole units, rounded down: low ones are too low.
local cost = math.ceil(before + refill - left - 0.25)
if cost < 0 then return end
local seen = {math.max(1, math.min(100, cost))}
for n in string.gmatch(row[3] or '', '%d+') do seen[#seen + 1] = tonumber(n) end
local before_any = ARGV[3] == 'GET' and 1 or row[4] or ARGV[5]
for n = #seen + 1, 30 do seen[n] = tonumber(before_any) end
seen[31] = nil
redis.call('HSET', KEYS[1], 'seen' .. of, table.concat(seen, ' '))
table.sort(seen)
redis.call('HSET', KEYS[1], 'cost' .. of, seen[3])
