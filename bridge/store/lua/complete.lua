-- Store up to when a source was compared with its own list, unless Redis was started anew
-- meanwhile: then it may have lost what the comparison had brought.
-- After each page of the list.
-- KEYS: none; all are in prelude.lua
-- ARGV: source, its place (JSON), the run of Redis in which the page was read
-- RETURNS: 1 stored, 0 it is another run
if not string.find(redis.call('INFO', 'server'), 'run_id:' .. ARGV[3], 1, true) then
  return 0
end
redis.call('HSET', COMPLETE, ARGV[1], ARGV[2])
return 1
