-- Decide what is raised and what is over, and put it into the outbox, for each address.
-- Every two seconds, by one process. What is raised stays so until it has been gone for
-- a while; so one that comes and goes is told once.
-- KEYS: none; all are in prelude.lua
-- ARGV: JSON {kind: {text, since (ms), after (ms it has to last)}} of what is so now,
--   number of addresses, ms that it has to be gone, length of the outbox
-- RETURNS: {kind, 'raised' or 'over'} of what was decided
local lit, decided = cjson.decode(ARGV[1]), {}
local function tell(kind, state, row)
  decided[#decided + 1] = {kind, state}
  for to = 1, tonumber(ARGV[2]) do
    redis.call('RPUSH', OUTBOX, cjson.encode({kind = kind, state = state,
      text = row.text, since = row.since, at = now, to = to - 1}))
  end
end
local before = redis.call('HGETALL', ALERTS)
local rows = {}
for i = 1, #before, 2 do rows[before[i]] = cjson.decode(before[i + 1]) end
for kind, lamp in pairs(lit) do
  local row = rows[kind] or {seen = now}
  row.gone = nil
  if not row.raised then
    row.text, row.since = lamp.text, lamp.since or row.seen
    row.raised = now - row.seen >= lamp.after
    if row.raised then tell(kind, 'raised', row) end
  end
  redis.call('HSET', ALERTS, kind, cjson.encode(row))
end
for kind, row in pairs(rows) do
  if not lit[kind] then
    row.gone = row.gone or now
    if row.raised and now - row.gone < tonumber(ARGV[3]) then
      redis.call('HSET', ALERTS, kind, cjson.encode(row))
    else
      redis.call('HDEL', ALERTS, kind)
      if row.raised then tell(kind, 'over', row) end
    end
  end
end
redis.call('LTRIM', OUTBOX, -ARGV[4], -1)
return decided
