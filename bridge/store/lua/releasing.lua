-- Give the lease back, and claim jobs for the waiters that are not settled.
local function leave(account, wanted)
  for _, p in ipairs(redis.call('SMEMBERS', waiters_of(account))) do
    local row = redis.call('HMGET', party_of(p), 'rev', 'settled', 'held', 'parked')
    local done = (tonumber(row[2]) or 0) + (tonumber(row[3]) or 0)
      + (tonumber(row[4]) or 0)
    if not wanted[p] then
      if redis.call('ZSCORE', DIRTY, p) or done < (tonumber(row[1]) or 0) then
        wanted[p] = want(p)
      else
        redis.call('HDEL', party_of(p), 'claim', 'claimed_at', 'job')
      end
    end
  end
  redis.call('DEL', waiters_of(account), lease_of(account))
end
local function listed(wanted)
  local out = {}
  for p, claim in pairs(wanted) do out[#out + 1] = claimed(p, claim) end
  return out
end
