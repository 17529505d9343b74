"""All keys in Redis; no other Python code spells one.

All begin with the version of the state's format, so that an old and a new version of
the bridge can tell their states apart.
"""

from __future__ import annotations

PREFIX = "vb1:"

DIRTY = PREFIX + "dirty"
"""Sorted set: party -> since when (ms) it has something that is not in Vitally."""

HELD = PREFIX + "held"
"""Sorted set: party without an account -> since when (ms)."""

PARKED = PREFIX + "parked"
"""Sorted set: party whose change could not be written -> since when (ms)."""

LATER = PREFIX + "later"
"""Sorted set: party -> when (ms) its next job is due: another try, or, with nothing
unsettled, a date at which something changes."""

INCOMPLETE = PREFIX + "incomplete"
"""Set of the parties whose first events were not seen."""

UNKNOWN = PREFIX + "unknown"
"""Hash: account -> JSON of the traits that cannot be known, and why."""

UNREAD = PREFIX + "unread"
"""Set of the pointers held because their source's API key is not set."""

MASS = PREFIX + "mass"
"""Sorted set: party that is parked as part of a mass change -> since when (ms)."""

MASS_HOLD = PREFIX + "mass:hold"
"""Hash: measure that something was counted for -> why it is held; "": it is not."""

MASS_TOTALS = PREFIX + "mass:totals"
"""Hash: measure of MRR -> its total, in thousandths; expires."""

COUNTERS = PREFIX + "counters"
"""Hash of counters and current values (see `figures`)."""

DURATIONS = PREFIX + "durations"
"""Hash: `what|label…|bucket` -> how many took that long; `…|us` -> their sum."""

RECENT = PREFIX + "recent"
"""Sorted set: digest of an event -> when (ms) it was accepted; capped."""

JOURNAL = PREFIX + "journal"
"""Capped stream, one line per event and party of a delivery: source `s`, event `e`, kind
`k` (of a quarantined one: the reason), party `p`, receipt `r`, which of the party's events
it is `n`, why it was ignored `w`."""

REFUSED = PREFIX + "refused"
"""Capped stream: one line per refused delivery (`refused.py`); of a flood only some."""

REFUSED_LATELY = PREFIX + "refused:lately"
"""Hash: `ten minutes:source:reason` -> deliveries refused in the last hour; expires."""

QUARANTINE = PREFIX + "quarantine"
"""Hash: id -> JSON with the whole body."""

QUARANTINED = PREFIX + "quarantined"
"""Sorted set: id in the quarantine -> when (ms)."""

QUARANTINED_EVENTS = PREFIX + "quarantine:events"
"""Hash: id in the quarantine -> how many events it is counted as."""

WORKERS = PREFIX + "workers"
"""Sorted set: worker -> when (ms) it was last heard from."""

BREAKER = PREFIX + "breaker"
"""Text: why all writes are stopped; absent: they are not."""

FAILING = PREFIX + "failing"
"""Hash: why Vitally does not take writes, since when, the last failure and the next try
(ms); absent: it does."""

KEYS_REFUSED = PREFIX + "keys:refused"
"""Hash: source -> why it refuses the key of its own API."""

COMPLETE = PREFIX + "complete"
"""Hash: source -> up to when it was compared with its own list (`complete.py`)."""

GAPS = PREFIX + "gaps:at"
"""Hash: source -> where an interrupted `gaps` goes on, as JSON."""

ALERTS = PREFIX + "alerts"
"""Hash: kind of a condition that is so -> JSON: since when (ms), whether it was raised."""

OUTBOX = PREFIX + "alerts:outbox"
"""Capped list: JSON of each alert that is to be sent, the oldest first."""

ALERTING = PREFIX + "alerts:sender"
"""The web process that sends alerts while there is no worker; expires."""

PAUSED = PREFIX + "paused"
"""Text: why somebody paused all writes by hand; absent: nobody did."""

FLUSHED = PREFIX + "flushed"
"""Written before asking whether everything so far is on Redis' disk; its value is unused."""

OPENED = PREFIX + "breaker:opened"
"""How often the breaker opened recently; expires."""

SWEEPER = PREFIX + "sweeper"
"""The worker that sweeps now; expires."""

FENCE = PREFIX + "fence"
"""Counts leases; a fencing number is the time and the end of this one."""

EMPTIED = PREFIX + "emptied"
"""When (ms) a worker found that Redis had come back empty; expires."""

BACKFILLED = PREFIX + "backfilled"
"""Hash: source -> when (ms) a backfill had last read all its customers."""

RUN = PREFIX + "run"
"""Hash: `id` of Redis' process at the last job, and `since` when (ms) after another one;
`since` 0: there was none before."""

DRY_RUN = PREFIX + "dry"
"""Exists while the workers write nothing to Vitally (`BRIDGE_DRY_RUN`)."""

LISTED = PREFIX + "listed"
"""When (ms) the last reading of all accounts in Vitally began, once it was complete."""

LISTING = PREFIX + "listing"
"""Hash: where a reading of all accounts is, and when it began; gone at its end."""

INDEX = PREFIX + "index"
"""Hash: account -> its row (`index.py`), as of its last job."""

INDEX_OF_ORGANIZATIONS = PREFIX + "index:organizations"
"""The same of organizations, which add nothing to any number of accounts."""

INDEXED = PREFIX + "indexed"
"""Where the sweeper is that adds missing rows to the index; "done" at the end."""

SAMPLES = PREFIX + "samples"
"""Capped list: a sample of the figures a minute, newest first."""

SAMPLED = PREFIX + "samples:taken"
"""Exists while the sample of this minute has been taken; expires."""

MARKS = PREFIX + "marks"
"""Capped list: what somebody changed, and when (ms), newest first."""

SETUP = PREFIX + "setup"
"""JSON: version, and digests of the settings, of the last worker that started."""

AUDIT = PREFIX + "audit"
"""Capped list: who did what in the console, newest first."""

READER = PREFIX + "reader"
"""Who reads all accounts in Vitally now; expires."""

RECONCILED = PREFIX + "reconciled"
"""When (ms) the schedule last ended a reconciliation; the next is due a period later."""

DRIFT = PREFIX + "drift"
"""Set of the accounts that the last reading showed changed or deleted by others."""

OBJECTS_LATE = PREFIX + "objects:late"
"""Set of the accounts whose instances of custom objects Vitally does not show."""

OBJECTS_OWED = PREFIX + "objects:owed"
"""Hash: account whose instances are owed a next step -> the party that waits for it."""

OBJECTS_REST = PREFIX + "objects:rest"
"""Hash: why instances cannot be sent or looked for, how often in a row, and until when (ms)
nobody tries again; absent: they can; expires."""

SLOTS = PREFIX + "throttle:slots"
"""Sorted set: write -> its slot (ms), for the last 60 s."""

RATE = PREFIX + "throttle:rate"
"""Hash: Vitally's limit and the cost of each kind of request, from its replies."""

PAUSE = PREFIX + "throttle:pause"
"""Exists while all workers wait after a 429; expires."""

# The keys of one party, account or source: `facts("stripe:cus_1")`.

mass = (PREFIX + "mass:in:{}").format
"""Sorted set of a measure: account -> when (ms) it was counted; and, with `:amounts`, a
hash: account -> amount; with `:sum`, a hash: number and sum of these. All only of the last
hour."""

facts = (PREFIX + "facts:{}").format
"""Hash: `thing TAB event` (`TAB rendering`) -> fact; `thing TAB` -> what is retained of it."""

party = (PREFIX + "party:{}").format
"""Hash: rev, nudges, settled, held, parked, account, why, claim, job and so on."""

account = (PREFIX + "account:{}").format
"""Hash: ledger, doubt, tries, pace … of one account; of an organization also Vitally's own
`id` of it, and whether Vitally is `known` to have it."""

members = (PREFIX + "members:{}").format
"""Set of the parties of an account."""

children = (PREFIX + "children:{}").format
"""Set of the accounts that belong to an organization (its external id)."""

history = (PREFIX + "history:{}").format
"""Capped list of the last writes to an account."""

instances = (PREFIX + "instances:{}").format
"""Hash of an account: instance of a custom object -> looks owed and missed (a digit each), and
the digest of what was sent (`store/objects.py`)."""

lease = (PREFIX + "lease:{}").format
"""Fencing number of the worker that may write the account; expires."""

waiters = (PREFIX + "again:{}").format
"""Set of the parties whose jobs came while another job held the lease."""

uses = (PREFIX + "uses:{}").format
"""Set of the parties that use a thing of a catalogue."""

reads = (PREFIX + "reads:{}:{}").format
"""Number of parties read from a source in one second; expires."""

backfill = (PREFIX + "backfill:{}").format
"""Hash: the party after which a backfill was interrupted, and its options."""
