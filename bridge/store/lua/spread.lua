-- Let some of the parties that use a thing of a catalogue be looked at again.
-- The job of a catalogue's thing. A party that looks again is on the list again.
-- KEYS: none; all are in prelude.lua
-- ARGV: thing of a catalogue, at most, ms between two
-- RETURNS: how many parties were reached
local users = redis.call('SPOP', uses_of(ARGV[1]), ARGV[2])
for i, p in ipairs(users) do
  local at = now + (i - 1) * tonumber(ARGV[3])
  redis.call('HINCRBY', party_of(p), 'nudges', 1)
  local due = redis.call('ZSCORE', LATER, p)
  local waits = redis.call('HGET', party_of(p), 'claim') == 'later'
  if not due or (not waits and tonumber(due) > at) then
    redis.call('ZADD', LATER, int(at), p)
  end
end
return #users
