-- Store the outcome of a job for all parties of an account at once; only with the lease.
-- The last step of a job. A party without an account (account '') has no lease: if
-- another worker compacted it at the same or a later revision, its facts stay as they are.
-- KEYS: none; all are in prelude.lua
-- ARGV: JSON: account, fence, party (whose job it is), to (settled, held, parked), why,
--   parties [{name, read, nudged, gone [field], put {field: row}, incomplete, deliveries,
--   vacated, stands_in}], vacant, unplaced [organization that parties name and that Vitally
--   was not known to have], organization of the account ('': none; absent: as so far), shared
--   (digest of what it counts with there; absent: nothing was worked out),
--   set {field: text} and unset [field] of the account, unknown (text or ''),
--   history (text or ''), counts {name: n}, later (ms from now; 0: never), known,
--   made_good (writes under lost leases that this write has corrected),
--   mass (true: parked as part of a mass change), read_at (when the reading of Vitally
--   began that the job knows, ms; 0: none), row of the index ('': none any more; absent: as it is)
-- RETURNS: 0: the lease is lost; else {party, claim, delivery, urgent} to queue jobs for
-- USES: claiming settling releasing tracing holding joining
local APART_MS = 20
local ack = cjson.decode(ARGV[1])
local leased = ack.account ~= ''
if leased and holder(ack.account) ~= ack.fence then return 0 end
-- The revisions that were read may be lost, and count other events by now.
if outdated(ack.fence) then return 0 end
local wanted = {}
local function settle_one(m)
  local before = tonumber(redis.call('HGET', party_of(m.name), 'compacted')) or 0
  if leased or m.read > before then compact(m.name, m.read, m) end
  if leased and m.incomplete then redis.call('SADD', INCOMPLETE, m.name)
  else redis.call('SREM', INCOMPLETE, m.name) end
  local moved = settle(m.name, m.read, m.nudged, ack.to, ack.why)
  if ack.mass then redis.call('ZADD', MASS, 'NX', int(now), m.name)
  else redis.call('ZREM', MASS, m.name) end
  if ack.to == 'settled' then forget(m.name, m.deliveries) end
  if ack.known then redis.call('HSET', party_of(m.name), 'known', '1') end
  if m.vacated or (m.stands_in and ack.vacant and not moved) then
    redis.call('DEL', party_of(m.name))
  end
  if m.name == ack.party then
    if moved then wanted[m.name] = want(m.name)
    else redis.call('HDEL', party_of(m.name), 'claim', 'claimed_at', 'job') end
  end
end
for _, m in ipairs(ack.parties) do
  if m.stands_in or redis.call('HEXISTS', party_of(m.name), 'rev') == 1
    or redis.call('EXISTS', facts_of(m.name)) == 1 then settle_one(m)
  else  -- forgotten, while a job of it waited
    redis.call('ZREM', DIRTY, m.name); redis.call('ZREM', LATER, m.name)
    redis.call('DEL', party_of(m.name))
  end
end
if leased then
  -- What a reading showed during the job: a write has made it untrue, though perhaps not
  -- put it right, so the next one is whole; anything else leaves it to the next job.
  local seen = redis.call('HGET', account_of(ack.account), 'seen')
  local is_news = seen and cjson.decode(seen)[2] ~= ack.read_at
  if is_news and ack.counts.writes then
    redis.call('HDEL', account_of(ack.account), 'seen')
  elseif is_news then
    ack.set.seen, ack.later = nil, 1
  end
  -- When it was written, a reading asks; the job only knows when it began.
  if ack.set.wrote_at then ack.set.wrote_at = int(now) end
  local id_before = redis.call('HGET', account_of(ack.account), 'id')
  for name, text in pairs(ack.set) do
    redis.call('HSET', account_of(ack.account), name, text)
  end
  if ack.set.objects_due == '0' then redis.call('HDEL', OBJECTS_OWED, ack.account)
  elseif ack.set.objects_due then redis.call('HSET', OBJECTS_OWED, ack.account, ack.party)
  end
  for _, name in ipairs(ack.unset) do
    redis.call('HDEL', account_of(ack.account), name)
  end
  if is_news and ack.counts.writes and ack.set.ledger
    and redis.call('SISMEMBER', DRIFT, ack.account) == 1 then
    redis.call('HSETNX', account_of(ack.account), 'doubt', 1)
    ack.later = 1
  end
  if ack.shared then
    local names = {}
    for n, m in ipairs(ack.parties) do names[n] = m.name end
    join(ack.account, ack.organization, ack.shared, names)
  end
  if ack.row then index(ack.account, ack.row) end
  -- From now on its accounts may be linked to it; they are looked at once for that. Where
  -- it is another one under its name, those that were linked owe that again.
  local organization = organization_of(ack.account)
  local is_other = ack.set.id and id_before and ack.set.id ~= id_before
  if organization and ack.known
    and (redis.call('HSETNX', account_of(ack.account), 'known', '1') == 1 or is_other) then
    for n, child in ipairs(redis.call('SMEMBERS', children_of(organization))) do
      local ledger = redis.call('HGET', account_of(child), 'ledger') or ''
      if string.find(ledger, '"organizationId":"', 1, true) then
        redis.call('HSETNX', account_of(child), 'doubt', 1)
      end
      local p = redis.call('SRANDMEMBER', members_of(child))
      if p then redis.call('ZADD', LATER, 'LT', int(now + n * APART_MS), p) end
    end
  end
  for _, of in ipairs(ack.unplaced) do
    if redis.call('HEXISTS', account_of(ORGANIZATION .. of), 'known') == 1 then
      ack.later = 1
    end
  end
  redis.call('PERSIST', account_of(ack.account))  -- a reading may have let it expire
  if ack.to == 'settled' and not is_news then
    redis.call('SREM', DRIFT, ack.account)
  end
  if ack.unknown == '' then redis.call('HDEL', UNKNOWN, ack.account)
  else redis.call('HSET', UNKNOWN, ack.account, ack.unknown) end
  if ack.history ~= '' then
    -- Of refusals in a row only the last stays, so that they push no write out.
    local last = redis.call('LINDEX', history_of(ack.account), 0)
    if last and cjson.decode(last).did == 'refused'
      and cjson.decode(ack.history).did == 'refused' then
      redis.call('LPOP', history_of(ack.account))
    end
    redis.call('LPUSH', history_of(ack.account), ack.history)
    redis.call('LTRIM', history_of(ack.account), 0, 4)
  end
  if ack.made_good > 0 then
    redis.call('HINCRBY', account_of(ack.account), 'stale', -ack.made_good)
  end
end
for name, n in pairs(ack.counts) do count(name, n) end
if ack.counts.writes then redis.call('DEL', FAILING) end
if ack.later > 0 then
  redis.call('ZADD', LATER, int(now + ack.later), ack.party)
end
if leased then leave(ack.account, wanted) end
return listed(wanted)
