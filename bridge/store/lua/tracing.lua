-- The deliveries of a party that are not settled: how many, and the ids of the last four,
-- as one text: '2 mzxw6ytboi5d nfxgkidqorzh'. An id has 12 characters.
local function remember(p, had, id)
  if id == '' then return end
  local n, ids = string.match(had or '0', '^(%d+)(.*)$')
  if string.sub(ids, -12) == id then return end
  -- At most 64 characters, so that Redis keeps the record in its small form.
  redis.call('HSET', party_of(p), 'deliveries', n + 1 .. string.sub(ids .. ' ' .. id, -52))
end
-- Forget those that are settled; the ones that came since they were `read` stay.
local function forget(p, read)
  local now_there = redis.call('HGET', party_of(p), 'deliveries')
  if not now_there or read == now_there then
    redis.call('HDEL', party_of(p), 'deliveries')
  elseif read ~= '' then
    local n, ids = string.match(now_there, '^(%d+)(.*)$')
    local _, last = string.find(ids, string.sub(read, -12), 1, true)
    redis.call('HSET', party_of(p), 'deliveries',
      int(n - string.match(read, '^%d+')) .. string.sub(ids, (last or 0) + 1))
  end
end
