-- Give the lease back, and claim jobs for the waiters that are not settled.
local function leave(account, wanted)
  for _, p in ipairs(redis.call('SMEMBERS', waiters_of(account))) do
    if not wanted[p] then
      if redis.call('ZSCORE', DIRTY, p) then wanted[p] = want(p)
      else redis.call('HDEL', party_of(p), 'claim', 'claimed_at', 'job') end
    end
  end
  redis.call('DEL', waiters_of(account), lease_of(account))
end
local function listed(wanted)
  local out = {}
  for p, claim in pairs(wanted) do out[#out + 1] = claimed(p, claim) end
  return out
end
