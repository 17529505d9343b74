-- Pause all requests to Vitally for a while; a longer pause that is already set stays.
-- KEYS: pause
-- ARGV: ms
-- RETURNS: nothing
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
