-- Delete a delivery; its events count as ignored.
-- Called by the command `quarantine drop`.
-- KEYS: none; all are in prelude.lua
-- ARGV: id
-- RETURNS: nothing
-- USES: quarantining
if not redis.call('ZSCORE', ORDER, ARGV[1]) then return end
gone(ARGV[1], 'ignored')
count('quarantine_dropped', 1)
