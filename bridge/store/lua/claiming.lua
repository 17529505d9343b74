-- Claim the party for one more job; returns the claim's number.
local function want(p)
  redis.call('HSET', party_of(p), 'claim', 'wanted', 'claimed_at', int(now))
  return redis.call('HINCRBY', party_of(p), 'claims', 1)
end
-- A claim as scripts return it: party, number, the last delivery that is not settled.
local function claimed(p, number)
  return {p, number,
    string.sub(redis.call('HGET', party_of(p), 'deliveries') or '', -12)}
end
