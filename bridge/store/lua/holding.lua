-- When Redis was last found to be another process than before (ms); 0: it never was.
-- A restart or a failover may have lost what was written last. So the leases from before
-- it are void, and all accounts in Vitally are read soon. If several workers run, one of
-- them may still have a request on its way under a void lease: all wait for its end (client.py).
local REQUEST_MS = 8000
local restarted_at
local function restarted()
  if restarted_at then return restarted_at end
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)')
  local known = redis.call('HMGET', RUN, 'id', 'since')
  restarted_at = tonumber(known[2]) or 0
  -- A clock that was put back is one more restart.
  if run and (run ~= known[1] or restarted_at > now) then
    if known[1] then
      restarted_at = now
      redis.call('DEL', RECONCILED, LISTING)
      if redis.call('ZCARD', WORKERS) > 1 and redis.call('PTTL', PAUSE) < REQUEST_MS then
        redis.call('SET', PAUSE, '1', 'PX', REQUEST_MS)
      end
    end
    redis.call('HSET', RUN, 'id', run, 'since', int(restarted_at))
  end
  return restarted_at
end
-- A new fencing number; the clock makes it another than any that a restart has lost.
local function fencing() return now * 1000 + redis.call('INCR', FENCE) % 1000 end
-- Whether what was read under this fencing number was read before a restart.
local function outdated(fence) return tonumber(fence) < restarted() * 1000 end
-- The fencing number of the lease of an account; nil: nobody has it. That of a worker of
-- an older version, without the clock, counts until it expires, within seconds.
local CLOCKED = 1e14
local function holder(account)
  local fence = redis.call('GET', lease_of(account))
  return fence and (tonumber(fence) < CLOCKED or not outdated(fence)) and fence or nil
end
