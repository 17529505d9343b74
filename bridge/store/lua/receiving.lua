-- Count one event as received. A replayed event was counted when its delivery `of` came:
-- it only leaves the count of the quarantined.
local function receive(of)
  if of ~= '' and tonumber(redis.call('HGET', QUARANTINED_EVENTS, of) or 0) > 0 then
    redis.call('HINCRBY', QUARANTINED_EVENTS, of, -1)
    count('quarantined', -1)
  else
    count('received', 1)
  end
end
