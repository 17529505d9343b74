-- Count an event that leaves no facts.
-- The last step of the ingress for what is ignored.
-- KEYS: none; all are in prelude.lua
-- ARGV: receipt (ignored), source, event, kind, length of the journal,
--   delivery in the quarantine that is replayed ('' none)
-- RETURNS: 1
-- USES: receiving
receive(ARGV[6]); count(ARGV[1], 1)
redis.call('XADD', JOURNAL, 'MAXLEN', '~', ARGV[5], '*', 's', ARGV[2], 'e', ARGV[3],
  'k', ARGV[4], 'r', ARGV[1])
return 1
