-- The beginning of every script: the keys (a test compares them with bridge/store/keys.py),
-- Redis' own clock, and counting.
local DIRTY, HELD, PARKED, LATER = 'vb1:dirty', 'vb1:held', 'vb1:parked', 'vb1:later'
local COUNTERS, RECENT, JOURNAL = 'vb1:counters', 'vb1:recent', 'vb1:journal'
local INCOMPLETE, UNKNOWN, FENCE = 'vb1:incomplete', 'vb1:unknown', 'vb1:fence'
local UNREAD = 'vb1:unread'
local RUN, WORKERS, PAUSE = 'vb1:run', 'vb1:workers', 'vb1:throttle:pause'
local RECONCILED, LISTING = 'vb1:reconciled', 'vb1:listing'
local LISTED, DRY_RUN = 'vb1:listed', 'vb1:dry'
local INDEX, INDEX_OF_ORGANIZATIONS = 'vb1:index', 'vb1:index:organizations'
local DRIFT, COMPLETE = 'vb1:drift', 'vb1:complete'
local REFUSED, REFUSED_LATELY = 'vb1:refused', 'vb1:refused:lately'
local FAILING, ALERTS, OUTBOX = 'vb1:failing', 'vb1:alerts', 'vb1:alerts:outbox'
local MASS, MASS_HOLD, MASS_TOTALS = 'vb1:mass', 'vb1:mass:hold', 'vb1:mass:totals'
local OBJECTS_LATE, OBJECTS_OWED = 'vb1:objects:late', 'vb1:objects:owed'
local QUARANTINED_EVENTS = 'vb1:quarantine:events'
local function facts_of(p) return 'vb1:facts:' .. p end
local function party_of(p) return 'vb1:party:' .. p end
local function account_of(a) return 'vb1:account:' .. a end
local function members_of(a) return 'vb1:members:' .. a end
local function children_of(o) return 'vb1:children:' .. o end
local function history_of(a) return 'vb1:history:' .. a end
local function lease_of(a) return 'vb1:lease:' .. a end
local function waiters_of(a) return 'vb1:again:' .. a end
local function instances_of(a) return 'vb1:instances:' .. a end
local function mass_of(m) return 'vb1:mass:in:' .. m end
local function uses_of(p) return 'vb1:uses:' .. p end

-- Add n to one of the bridge's counters.
local function count(name, n)
  if n ~= 0 then redis.call('HINCRBY', COUNTERS, name, n) end
end

-- Store the row of an account in its index; '': remove it. How many were removed.
local function index(account, row)
  local is_one = string.sub(account, 1, 13) == 'organization:'
  local key = is_one and INDEX_OF_ORGANIZATIONS or INDEX
  if row == '' then return redis.call('HDEL', key, account) end
  redis.call('HSET', key, account, row)
end

-- Milliseconds since the epoch.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Format a number for Redis: whole, and never like 1e+15.
local function int(x) return string.format('%.0f', tonumber(x) or 0) end
