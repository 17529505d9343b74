"""The numbers of the whole bridge, read in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from redis import Redis

from bridge.store import keys
from bridge.store.budget import COST, LIMIT, drained_in

COUNTED = (
    "received",
    "accepted",
    "duplicate",
    "ignored",
    "quarantined",
    "settled",
    "pending",
    "held",
    "parked",
    "writes",
    "saved",
    "discarded",
    "quarantine_bytes",
    "quarantine_dropped",
)


SILENCE_MS = 15_000
"""A worker that was not heard for so long is not there."""


class Figures(NamedTuple):
    """Counted per event and party, each in the script that changes the state.

    received = accepted + duplicate + ignored + quarantined
    accepted = settled + pending + held + parked
    *writes* and *saved* are requests made to Vitally and jobs that needed none.
    *oldest_ms* is the age of the oldest unsettled event; *workers* maps each worker
    to the milliseconds since it was last heard; *breaker* says why all writes stopped,
    *paused* why somebody stopped them by hand. *discarded* are settled, without a
    write. *unread* are pointers held since the key of their source's API is not set.
    *quarantined* are events that are kept unread now, in *quarantine_deliveries* of
    *quarantine_bytes* in Redis; *quarantine_dropped* deliveries had to go, and count as
    ignored.
    *limit* (units a minute) and *cost* of a write are what Vitally's replies say.
    """

    received: int
    accepted: int
    duplicate: int
    ignored: int
    quarantined: int
    settled: int
    pending: int
    held: int
    parked: int
    writes: int
    saved: int
    discarded: int
    quarantine_bytes: int
    quarantine_dropped: int
    waiting: int
    dirty: int
    oldest_ms: int | None
    held_parties: int
    parked_parties: int
    incomplete: int
    unknown: int
    unread: int
    quarantine_deliveries: int
    workers: Mapping[str, int]
    breaker: str | None
    paused: str | None
    limit: int
    cost: int
    outcomes: Mapping[str, int]

    @property
    def quarantine(self) -> str:
        """What is in the quarantine now, in words."""
        kept = f"{self.quarantined} events in {self.quarantine_deliveries} deliveries"
        dropped = self.quarantine_dropped
        more = f"; {dropped} deliveries were dropped" if dropped else ""
        return f"{kept}, {self.quarantine_bytes:,} bytes{more}"

    @property
    def heard(self) -> list[str]:
        """Workers that were heard a short while ago."""
        return sorted(w for w, ms in self.workers.items() if ms < SILENCE_MS)

    def drained_in(self, share: float) -> float:
        """Seconds until all that waits is written, at *share* of Vitally's limit."""
        return drained_in(self.dirty, self.limit * share, self.cost)


def figures(redis: Redis, queue_key: str = "rq:queue:bridge") -> Figures:
    """Read them all. Raises redis' own errors."""
    raw = _read(redis, queue_key)
    seconds, micros = raw["time"]
    now = seconds * 1000 + micros // 1000
    counters = {name.decode(): int(n) for name, n in raw["counters"].items()}
    breaker, paused = (None if text is None else text.decode() for text in raw["stops"])
    limit, cost = raw["rate"]
    oldest = raw["oldest"]
    outcome = "outcome:"
    return Figures(
        **{name: counters.get(name, 0) for name in COUNTED},
        **{name: raw[name] for name in SIZES},
        oldest_ms=max(0, now - int(oldest[0][1])) if oldest else None,
        workers={w.decode(): max(0, now - int(at)) for w, at in raw["workers"]},
        breaker=breaker or None,
        paused=paused,
        limit=int(limit or LIMIT),
        cost=int(cost or COST),
        outcomes={
            name.removeprefix(outcome): n
            for name, n in counters.items()
            if name.startswith(outcome)
        },
    )


SIZES = (
    "waiting",
    "dirty",
    "held_parties",
    "parked_parties",
    "incomplete",
    "unknown",
    "unread",
    "quarantine_deliveries",
)
"""Figures that are the size of a key."""


def _read(redis: Redis, queue_key: str) -> dict[str, Any]:
    """All that the figures are made of, in one round trip."""
    with redis.pipeline(transaction=True) as pipe:
        pipe.llen(queue_key)
        pipe.zcard(keys.DIRTY)
        pipe.zcard(keys.HELD)
        pipe.zcard(keys.PARKED)
        pipe.scard(keys.INCOMPLETE)
        pipe.hlen(keys.UNKNOWN)
        pipe.scard(keys.UNREAD)
        pipe.zcard(keys.QUARANTINED)
        pipe.hgetall(keys.COUNTERS)
        pipe.zrange(keys.DIRTY, 0, 0, withscores=True)
        pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
        pipe.mget(keys.BREAKER, keys.PAUSED)
        pipe.hmget(keys.RATE, "limit", "cost")
        pipe.time()
        replies = pipe.execute()
    names = (*SIZES, "counters", "oldest", "workers", "stops", "rate", "time")
    return dict(zip(names, replies, strict=True))
