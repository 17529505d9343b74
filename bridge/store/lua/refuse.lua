-- Count deliveries that were refused, and add the last ones to the journal of the refused.
-- Every few seconds by a web process that has refused some, not for each of them.
-- KEYS: none; all are in prelude.lua
-- ARGV: JSON {source:reason = n}, JSON [[source, status, reason, words, delivery]],
--   length of the journal
-- RETURNS: nothing
local SPAN, SPANS = 600000, 7
local span = math.floor(now / SPAN)
for _, field in ipairs(redis.call('HKEYS', REFUSED_LATELY)) do
  if tonumber(string.match(field, '^%d+')) <= span - SPANS then
    redis.call('HDEL', REFUSED_LATELY, field)
  end
end
for name, n in pairs(cjson.decode(ARGV[1])) do
  count('refused:' .. name, n)
  redis.call('HINCRBY', REFUSED_LATELY, int(span) .. ':' .. name, n)
end
redis.call('PEXPIRE', REFUSED_LATELY, SPAN * SPANS)
for _, line in ipairs(cjson.decode(ARGV[2])) do
  redis.call('XADD', REFUSED, 'MAXLEN', '~', ARGV[3], '*', 's', line[1], 'c', line[2],
    'k', line[3], 'w', line[4], 'd', line[5])
end
