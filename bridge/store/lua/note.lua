-- Count events of a delivery that have no facts.
-- The last step of the ingress for ignored events.
-- KEYS: none; all are in prelude.lua
-- ARGV: source, length of the journal, delivery in the quarantine that is replayed
--   ('': none), then pairs of event and kind
-- RETURNS: 1
-- USES: receiving
for i = 4, #ARGV, 2 do
  receive(ARGV[3]); count('ignored', 1)
  redis.call('XADD', JOURNAL, 'MAXLEN', '~', ARGV[2], '*', 's', ARGV[1],
    'e', ARGV[i], 'k', ARGV[i + 1], 'r', 'ignored')
end
return 1
