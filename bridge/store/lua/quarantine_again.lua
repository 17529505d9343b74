-- Note what a replay has left of a delivery.
-- The command `quarantine replay`.
-- KEYS: none; all are in prelude.lua
-- ARGV: id, JSON of what is left of it ('' nothing: what was counted beyond that were
--   repeats of it)
-- RETURNS: 1; 0: it is not there
-- USES: shelf
if not redis.call('ZSCORE', ORDER, ARGV[1]) then return 0 end
if ARGV[2] == '' then gone(ARGV[1], 'duplicate')
else
  count('quarantine_bytes', #ARGV[2] - size(ARGV[1]))
  redis.call('HSET', SHELF, ARGV[1], ARGV[2])
end
return 1
