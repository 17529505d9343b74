-- Claim the party for one more job; returns the claim's number.
local function want(p)
  redis.call('HSET', party_of(p), 'claim', 'wanted', 'claimed_at', int(now))
  return redis.call('HINCRBY', party_of(p), 'claims', 1)
end
-- A claim as scripts return it: party, number, the last delivery that is not settled,
-- urgent (1: its job goes to the front).
local function claimed(p, number)
  local row = redis.call('HMGET', party_of(p), 'deliveries', 'urgent')
  return {p, number, string.sub(row[1] or '', -12), tonumber(row[2]) or 0}
end
