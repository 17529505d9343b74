-- Count one event as received; one that is replayed, and so leaves the delivery `of`
-- of the quarantine, was counted when that came: it moves.
local function receive(of)
  if of ~= '' and tonumber(redis.call('HGET', QUARANTINED_EVENTS, of) or 0) > 0 then
    redis.call('HINCRBY', QUARANTINED_EVENTS, of, -1)
    count('quarantined', -1)
  else
    count('received', 1)
  end
end
