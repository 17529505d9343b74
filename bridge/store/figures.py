"""The numbers of the whole bridge, read in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

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
    waiting: int
    dirty: int
    oldest_ms: int | None
    held_parties: int
    parked_parties: int
    incomplete: int
    unknown: int
    unread: int
    workers: Mapping[str, int]
    breaker: str | None
    paused: str | None
    limit: int
    cost: int
    outcomes: Mapping[str, int]

    @property
    def heard(self) -> list[str]:
        """Workers that were heard a short while ago."""
        return sorted(w for w, ms in self.workers.items() if ms < SILENCE_MS)

    def drained_in(self, share: float) -> float:
        """Seconds until all that waits is written, at *share* of Vitally's limit."""
        return drained_in(self.dirty, self.limit * share, self.cost)


def figures(redis: Redis, queue_key: str = "rq:queue:bridge") -> Figures:
    """Read them all. Raises redis' own errors."""
    with redis.pipeline(transaction=True) as pipe:
        pipe.hgetall(keys.COUNTERS)
        pipe.llen(queue_key)
        pipe.zcard(keys.DIRTY)
        pipe.zrange(keys.DIRTY, 0, 0, withscores=True)
        pipe.zcard(keys.HELD)
        pipe.zcard(keys.PARKED)
        pipe.scard(keys.INCOMPLETE)
        pipe.hlen(keys.UNKNOWN)
        pipe.scard(keys.UNREAD)
        pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
        pipe.mget(keys.BREAKER, keys.PAUSED)
        pipe.hmget(keys.RATE, "limit", "cost")
        pipe.time()
        (
            raw,
            waiting,
            dirty,
            oldest,
            held,
            parked,
            incomplete,
            unknown,
            unread,
            *rest,
        ) = pipe.execute()
    workers, stops, rate, (seconds, micros) = rest
    breaker, paused = (raw.decode() if raw is not None else None for raw in stops)
    now = seconds * 1000 + micros // 1000
    counters = {name.decode(): int(n) for name, n in raw.items()}
    return Figures(
        **{name: counters.get(name, 0) for name in COUNTED},
        waiting=waiting,
        dirty=dirty,
        oldest_ms=max(0, now - int(oldest[0][1])) if oldest else None,
        held_parties=held,
        parked_parties=parked,
        incomplete=incomplete,
        unknown=unknown,
        unread=unread,
        workers={w.decode(): max(0, now - int(at)) for w, at in workers},
        breaker=breaker or None,
        paused=paused,
        limit=int(rate[0] or LIMIT),
        cost=int(rate[1] or COST),
        outcomes={
            name.removeprefix("outcome:"): n
            for name, n in counters.items()
            if name.startswith("outcome:")
        },
    )
