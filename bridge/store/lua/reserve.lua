-- Reserve a slot for a write to Vitally, so that no 60 s use more units than allowed.
-- Called before each write of a job.
-- KEYS: slots, rate, pause, paused by hand
-- ARGV: share, limit, cost, most (ms), id ('': do not reserve), wait while paused by hand
-- RETURNS: the wait in ms; negative if it is longer than `most` (nothing is reserved)
if redis.call('EXISTS', KEYS[4]) == 1 then return -tonumber(ARGV[6]) end
local rate = redis.call('HMGET', KEYS[2], 'limit', 'cost')
local limit = tonumber(rate[1] or ARGV[2])
local cost = tonumber(rate[2] or ARGV[3])
local most = math.max(1, math.floor(limit * tonumber(ARGV[1]) / cost))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - 60000))
local at = now
local nth = redis.call('ZRANGE', KEYS[1], -most, -most, 'WITHSCORES')
if nth[2] then at = math.max(at, tonumber(nth[2]) + 60001) end
local pause = redis.call('PTTL', KEYS[3])
if pause > 0 then at = math.max(at, now + pause) end
local wait = at - now
if wait > tonumber(ARGV[4]) then return -wait end
if ARGV[5] ~= '' then
  redis.call('ZADD', KEYS[1], string.format('%.0f', at), ARGV[5])
  redis.call('PEXPIRE', KEYS[1], 180000)
end
return wait
