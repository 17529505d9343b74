-- Count events of a delivery that have no facts.
-- The last step of the ingress for ignored events.
-- KEYS: none; all are in prelude.lua
-- ARGV: source, length of the journal, delivery ('': none), delivery in the quarantine
--   that is replayed ('': none), then event, kind and reason of each
-- RETURNS: nothing
-- USES: receiving
for i = 5, #ARGV, 3 do
  receive(ARGV[4]); count('ignored', 1)
  redis.call('XADD', JOURNAL, 'MAXLEN', '~', ARGV[2], '*', 's', ARGV[1],
    'e', ARGV[i], 'k', ARGV[i + 1], 'r', 'ignored', 'w', ARGV[i + 2],
    'd', ARGV[3])
end
