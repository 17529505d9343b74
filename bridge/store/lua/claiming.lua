-- Claim the party for one more job; returns the claim's number.
local function want(p)
  redis.call('HSET', party_of(p), 'claim', 'wanted', 'claimed_at', int(now))
  return redis.call('HINCRBY', party_of(p), 'claims', 1)
end
