"""Every key of ours in Redis; nothing else spells one.

All begin with the version of the state's form, so that an old and a new version can
tell each other's state apart.
"""

from __future__ import annotations

PREFIX = "vb1:"

DIRTY = PREFIX + "dirty"
"""Sorted set: party -> since when (ms) something of it is not in Vitally."""

HELD = PREFIX + "held"
"""Sorted set: party without an account -> since when (ms)."""

PARKED = PREFIX + "parked"
"""Sorted set: party whose change Vitally refuses -> since when (ms)."""

LATER = PREFIX + "later"
"""Sorted set: party -> when (ms) a job of it is to be queued again: a next try, or an
appointment with nothing unsettled."""

INCOMPLETE = PREFIX + "incomplete"
"""Set of the parties that were first met in mid-life."""

UNKNOWN = PREFIX + "unknown"
"""Hash: account -> JSON of the traits that cannot be known, and why."""

UNREAD = PREFIX + "unread"
"""Set of the pointers that are held because their source's key is not set."""

COUNTERS = PREFIX + "counters"
"""Hash of ascending and standing numbers (see `figures`)."""

RECENT = PREFIX + "recent"
"""Sorted set: digest of an event -> when (ms) it was taken; a capped ring."""

JOURNAL = PREFIX + "journal"
"""Capped stream: a line for each delivery's event."""

QUARANTINE = PREFIX + "quarantine"
"""Hash: id -> JSON with the whole body."""

QUARANTINED = PREFIX + "quarantined"
"""Sorted set: id in the quarantine -> when (ms)."""

QUARANTINED_EVENTS = PREFIX + "quarantine:events"
"""Hash: id in the quarantine -> how many events it is counted as."""

WORKERS = PREFIX + "workers"
"""Sorted set: worker -> when (ms) it was last heard."""

BREAKER = PREFIX + "breaker"
"""Text: why all writes have stopped; absent: they have not."""

PAUSED = PREFIX + "paused"
"""Text: why somebody has stopped all writes by hand; absent: nobody has."""

FLUSHED = PREFIX + "flushed"
"""Written before a question whether all so far is on Redis' disk; holds nothing."""

OPENED = PREFIX + "breaker:opened"
"""How often the breaker opened of late; expires."""

SWEEPER = PREFIX + "sweeper"
"""The worker that sweeps now; expires."""

FENCE = PREFIX + "fence"
"""Ascending number that each lease takes."""

SLOTS = PREFIX + "throttle:slots"
"""Sorted set: write -> its slot (ms), for the last 60 s."""

RATE = PREFIX + "throttle:rate"
"""Hash: what Vitally's replies say of its limit and of a write's cost."""

PAUSE = PREFIX + "throttle:pause"
"""Exists while Vitally wants to be left alone; expires."""

# The keys of one party, account or source: `facts("stripe:cus_1")`.

facts = (PREFIX + "facts:{}").format
"""Hash: `thing TAB event` (`TAB rendering`) -> fact; `thing TAB` -> what is retained of it."""

party = (PREFIX + "party:{}").format
"""Hash: rev, nudges, settled, held, parked, account, why, claim, job and so on."""

account = (PREFIX + "account:{}").format
"""Hash: ledger, doubt, tries, pace … of one account."""

members = (PREFIX + "members:{}").format
"""Set of the parties of an account."""

history = (PREFIX + "history:{}").format
"""Capped list of what was last written to an account."""

lease = (PREFIX + "lease:{}").format
"""Fencing number of whoever may write the account; expires."""

waiters = (PREFIX + "again:{}").format
"""Set of the parties whose jobs came while another held the lease."""

uses = (PREFIX + "uses:{}").format
"""Set of the parties that use a thing of a catalogue."""

reads = (PREFIX + "reads:{}:{}").format
"""How many parties were read from a source in one second; expires."""

backfill = (PREFIX + "backfill:{}").format
"""Hash: after which party a backfill was interrupted, and what it asked for."""
