-- Schedule jobs for some of the parties that use a thing of a catalogue.
-- Called by the job of that thing. The job of such a party lists it again as a user.
-- KEYS: none; all are in prelude.lua
-- ARGV: thing of a catalogue, most parties, ms between two of them
-- RETURNS: how many parties were reached
-- USES: tracing
local id = string.sub(redis.call('HGET', party_of(ARGV[1]), 'deliveries') or '', -12)
local users = redis.call('SPOP', uses_of(ARGV[1]), ARGV[2])
for i, p in ipairs(users) do
  local at = now + (i - 1) * tonumber(ARGV[3])
  redis.call('HINCRBY', party_of(p), 'nudges', 1)
  remember(p, redis.call('HGET', party_of(p), 'deliveries'), id)
  local due = redis.call('ZSCORE', LATER, p)
  local waits = redis.call('HGET', party_of(p), 'claim') == 'later'
  if not due or (not waits and tonumber(due) > at) then
    redis.call('ZADD', LATER, int(at), p)
  end
end
return #users
