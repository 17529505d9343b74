-- Update a delivery after a replay: only the events that were refused again stay.
-- Called by the command `quarantine replay`.
-- KEYS: none; all are in prelude.lua
-- ARGV: id, JSON of what is left of it ('': nothing; any count that remains came from
--   repeats of the delivery)
-- RETURNS: nothing
-- USES: quarantining
if not redis.call('ZSCORE', ORDER, ARGV[1]) then return end
if ARGV[2] == '' then gone(ARGV[1], 'duplicate')
else
  count('quarantine_bytes', #ARGV[2] - size(ARGV[1]))
  redis.call('HSET', SHELF, ARGV[1], ARGV[2])
end
