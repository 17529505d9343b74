"""The numbers of the whole bridge, read in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from redis import Redis

from bridge.store import keys

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
)


SILENCE_MS = 15_000
"""A worker that was not heard for so long is not there."""


class Figures(NamedTuple):
    """Counted per event and party, each in the script that changes the state.

    received = accepted + duplicate + ignored + quarantined
    accepted = settled + pending + held + parked
    *writes* and *saved* are requests made to Vitally and jobs that needed none.
    *oldest_ms* is the age of the oldest unsettled event; *workers* maps each worker
    to the milliseconds since it was last heard; *breaker* says why all writes stopped.
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
    waiting: int
    dirty: int
    oldest_ms: int | None
    held_parties: int
    parked_parties: int
    incomplete: int
    unknown: int
    workers: Mapping[str, int]
    breaker: str | None
    outcomes: Mapping[str, int]

    @property
    def heard(self) -> list[str]:
        """Workers that were heard a short while ago."""
        return sorted(w for w, ms in self.workers.items() if ms < SILENCE_MS)


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
        pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
        pipe.get(keys.BREAKER)
        pipe.time()
        raw, waiting, dirty, oldest, held, parked, incomplete, unknown, *rest = (
            pipe.execute()
        )
    workers, breaker, (seconds, micros) = rest
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
        workers={w.decode(): max(0, now - int(at)) for w, at in workers},
        breaker=breaker.decode() if breaker else None,
        outcomes={
            name.removeprefix("outcome:"): n
            for name, n in counters.items()
            if name.startswith("outcome:")
        },
    )
