-- Hold a party whose account is not known; the last step of its job.
-- No lease is held here: what another worker compacted at this revision or a later one
-- stays as it is.
-- KEYS: none; all are in prelude.lua
-- ARGV: party, revision read, nudges read, reason, JSON of its compaction {gone, put}
-- RETURNS: the claim to queue a job for; 0: none
-- USES: claiming settling
local read = tonumber(ARGV[2])
local before = tonumber(redis.call('HGET', party_of(ARGV[1]), 'compacted')) or 0
if read > before then compact(ARGV[1], read, cjson.decode(ARGV[5])) end
local moved = settle(ARGV[1], read, tonumber(ARGV[3]), 'held', ARGV[4])
count('outcome:held', 1)
if moved then return want(ARGV[1]) end
redis.call('HDEL', party_of(ARGV[1]), 'claim', 'claimed_at', 'job')
return 0
