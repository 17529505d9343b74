-- Note what a reading of Vitally showed of accounts, where nothing was written since. A
-- job that has begun and does not write leaves it to the next one (`ack`).
-- KEYS: none; all are in prelude.lua
-- ARGV: when the reading began (ms), JSON: list of {account, its ledger as it was
--   compared ('' none), what was seen otherwise (JSON), whether it has drifted}, how long
--   what is no party's is kept (s)
-- RETURNS: how many were noted
local noted = 0
for _, one in ipairs(cjson.decode(ARGV[2])) do
  local key = account_of(one[1])
  local row = redis.call('HMGET', key, 'ledger', 'wrote_at', 'doubt')
  local later = (tonumber(row[2]) or 0) >= tonumber(ARGV[1])
  if not later and not row[3] and (row[1] or '') == one[2] then
    redis.call('HSET', key, 'seen', one[3])
    -- No account can be linked to an organization that is not there.
    if cjson.decode(one[3])[3] then redis.call('HDEL', key, 'known', 'id') end
    if not row[1] and redis.call('EXISTS', members_of(one[1])) == 0 then
      redis.call('EXPIRE', key, ARGV[3])
    end
    redis.call(one[4] and 'SADD' or 'SREM', DRIFT, one[1])
    noted = noted + 1
  end
end
return noted
