-- Store what a reply says about Vitally's limit and about the cost of a write: the third
-- lowest of thirty observations, since what others send only adds to an observation.
-- KEYS: rate
-- ARGV: limit, remaining, was a write (1 or 0), ms since the request was sent, cost of a
--   write before any observation, share of the limit below which others use it
-- RETURNS: 1; 0: a later request has been answered already
local limit, left, at = tonumber(ARGV[1]), tonumber(ARGV[2]), now - tonumber(ARGV[4])
local row = redis.call('HMGET', KEYS[1], 'left', 'at', 'seen')
local elapsed = at - (tonumber(row[2]) or 0)
-- Further back only a clock that was put back can be.
if elapsed < 0 and elapsed > -60000 then return 0 end
redis.call('HSET', KEYS[1], 'limit', limit, 'left', left, 'at', int(at))
if left < limit * tonumber(ARGV[6]) then
  redis.call('HSET', KEYS[1], 'scarce', int(now))
end
-- In a longer time others have sent something.
if ARGV[3] ~= '1' or not row[1] or elapsed > 1000 then return 1 end
local before = tonumber(row[1])
local refill = math.min(limit - before, elapsed * limit / 60000)
-- Rounded up, since both are whole units, rounded down: low ones are too low.
local cost = math.ceil(before + refill - left - 0.25)
if cost < 0 then return 1 end
local seen = {math.max(1, math.min(100, cost))}
for n in string.gmatch(row[3] or '', '%d+') do seen[#seen + 1] = tonumber(n) end
for n = #seen + 1, 30 do seen[n] = tonumber(ARGV[5]) end
seen[31] = nil
redis.call('HSET', KEYS[1], 'seen', table.concat(seen, ' '))
table.sort(seen)
redis.call('HSET', KEYS[1], 'cost', seen[3])
return 1
