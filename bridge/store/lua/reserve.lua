-- Reserve a slot for a request to Vitally, so that no 60 s use more units than allowed. A
-- slot is what a PUT costs, until one is seen what a POST does; what costs more takes several.
-- Called before each request. Ordinary ones may use half of a minute's slots at once; the
-- rest is spread over the minute, and a twentieth is left. So one that is urgent, which
-- obeys the limit alone, finds a free slot soon, however many wait. If a reply showed that
-- others use the key, nothing goes until another one shows more, or for a minute.
-- KEYS: slots, rate, pause, and those that stop this kind: paused by hand, breaker
-- ARGV: share, limit, cost, most (ms), id ('': do not reserve), wait while stopped,
--   urgent (1 or 0), share of the limit below which others use it, kind (method)
-- RETURNS: {wait in ms, slots, how many of this kind a slot pays for}; a negative wait is
--   longer than `most`: nothing is reserved
local LOOK_AGAIN_MS, FAR_MS = 1500, 600000
if KEYS[4] and redis.call('EXISTS', unpack(KEYS, 4)) > 0 then
  return {-tonumber(ARGV[6]), 0, 0}
end
local rate = redis.call('HMGET', KEYS[2], 'limit', 'cost', 'left', 'at',
  'cost:' .. ARGV[9], 'cost:POST')
local limit = tonumber(rate[1] or ARGV[2])
local cost = tonumber(rate[2] or rate[6] or ARGV[3])
-- Costs are learned to a unit: so little more for a POST must not take a second slot.
local post = tonumber(rate[6] or cost)
if post > cost and post <= cost * 1.2 then cost = post end
local slots = math.max(1, math.ceil(tonumber(rate[5] or cost) / cost))
local most = math.max(1, math.floor(limit * tonumber(ARGV[1]) / cost))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - 60000))
-- Nobody reserves so far ahead: the clock was put back, and all would wait as long.
redis.call('ZREMRANGEBYSCORE', KEYS[1], int(now + math.max(FAR_MS, ARGV[4])), '+inf')
local function slot(rank)
  return tonumber(redis.call('ZRANGE', KEYS[1], rank, rank, 'WITHSCORES')[2])
end
local at, allowed = now, most
if ARGV[7] ~= '1' then
  allowed = most - math.floor(most / 20)
  local taken = redis.call('ZCARD', KEYS[1])
  if taken >= math.ceil(most / 2) then
    -- Three times as fast as the limit on average, to fill up what an idle time left.
    local gap, left, last = 20000 / most, allowed - taken, slot(-1)
    if left > 0 then
      gap = math.max(gap, (slot(0) + 60000 - math.max(now, last)) / left)
    end
    at = math.max(at, last + gap)
  end
end
local full = slot(-math.max(1, allowed - slots + 1))
if full then at = math.max(at, full + 60001) end
-- For an urgent one half of that is enough, so that there is something left for it.
local least = limit * tonumber(ARGV[8]) / (ARGV[7] == '1' and 2 or 1)
local seen = (tonumber(rate[4]) or 0) + 60000
local pause = redis.call('PTTL', KEYS[3])
if pause > 0 then at = math.max(at, now + pause) end
local wait = math.ceil(at - now)
if (tonumber(rate[3]) or limit) < least and now < seen then
  -- Another reply may end that soon, so it is asked for again.
  if seen - now > tonumber(ARGV[4]) then
    return {-math.max(wait, LOOK_AGAIN_MS), 0, 0}
  end
  wait = math.max(wait, math.ceil(seen - now))
end
if wait > tonumber(ARGV[4]) then return {-wait, 0, 0} end
if ARGV[5] ~= '' then
  for n = 1, slots do
    redis.call('ZADD', KEYS[1], int(now + wait), ARGV[5] .. (n > 1 and ':' .. n or ''))
  end
  redis.call('PEXPIRE', KEYS[1], 180000)
end
return {wait, slots, math.floor(cost / tonumber(rate[5] or 1))}
