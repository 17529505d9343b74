"""The throttle, which spaces writes out, and the breaker, which stops them all, and outages.

All workers share one throttle: no more than the allowed units in any 60 seconds. Every
write reserves a slot on Redis' clock. Ordinary slots are spread, so that an ending
finds a free one however many writes wait. The limit and the cost of each kind of request
are learned from the `RateLimit-*` headers of Vitally's replies; until then a write is assumed
to cost ten units (a guess from Vitally's documentation), a read one. A slot is worth a PUT.

Others may use the same key. A bridge that keeps its share never sees less than `LEAST`
left if the others keep theirs. If a reply shows less, only looks go, a unit each, until
one shows that there is enough again. `LEAST` is the same for all bridges, so that the
small ones do not give way to the large ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from uuid import uuid4

from redis import Redis

from bridge.store import keys
from bridge.store.connect import Store
from bridge.store.inspect import COST, LIMIT
from bridge.vitally.replies import Rate

LEAST = 0.1
"""The part of the limit that is left to what others send between two replies."""

STOPPED_MS = 2000
"""Wait before the next check while all writes are stopped, by a refusal or by hand."""


def wait_ms(retry_after: float | None) -> int:
    """Milliseconds to leave an API alone that said 429, and *retry_after* (s) with it.

    Ten minutes at most: one that names years is mistaken.
    """
    seconds = 2.0 if retry_after is None else min(max(retry_after, 0.05), 600)
    return int(1000 * seconds)


class Throttle(Store):
    """Slots for writes to Vitally, *share* of its limit."""

    def __init__(self, redis: Redis, share: float) -> None:
        super().__init__(redis)
        self._share, self._reads_left, self._looked = share, 0, 0.0
        self._least = min(LEAST, (1 - share) / 2)

    def reserve(
        self, most_ms: int, kind: str = "PUT", *, urgent: bool = False
    ) -> tuple[int, list[str]]:
        """Reserve the next slot, or as many as a request of this *kind* costs: (ms to wait, slots).

        If the slot is further away than *most_ms*, the wait is negative and nothing is
        reserved. One that is *urgent* obeys the limit alone.
        """
        slot = uuid4().hex
        wait, many, _ = self._call(most_ms, slot, kind, urgent=urgent)
        return wait, [slot, *(f"{slot}:{number}" for number in range(2, many + 1))]

    def reserve_read(self, most_ms: int) -> int:
        """Reserve for a read: ms to wait, negative as above.

        As many as cost what a write does share a slot. A pause by hand stops writes alone.
        """
        if self._reads_left and not self._redis.exists(keys.PAUSE):
            self._reads_left -= 1
            return 0
        wait, _, reads = self._call(most_ms, uuid4().hex, "GET")
        if wait >= 0:
            self._reads_left = max(0, reads - 1)
        return wait

    def wait(self, *, urgent: bool = False) -> int:
        """Milliseconds until there is a free slot; reserves nothing."""
        return abs(self._call(0, "", urgent=urgent)[0])

    def give_back(self, slots: Sequence[str]) -> None:
        """Return slots that were not used."""
        self._redis.zrem(keys.SLOTS, *slots)

    def pause(self, ms: int) -> None:
        """Send nothing to Vitally for *ms*; a longer pause that is already set stays."""
        self._run("pause", max(1, ms), keys=[keys.PAUSE])

    def learn(self, rate: Rate) -> None:
        """Store what a reply says about the limit, and about the cost of its kind."""
        seen = (max(1, rate.limit), rate.remaining, rate.kind, int(rate.ago * 1000))
        self._run("learn_limit", *seen, COST, self._least, keys=[keys.RATE])

    def wants_look(self) -> bool:
        """Whether it is time to see if others have left more; then one reply is learned.

        The time is half of what refilling takes: an ending needs no more. Looks take at
        most half of the limit. None goes while Vitally fails: others ask it then.
        """
        raw, left = self._redis.hmget(keys.RATE, "limit", "left")
        limit = int(raw or LIMIT)
        missing = self._least - int(left or LIMIT) / limit
        apart = max(missing * 30, 2 * 60 / limit)
        if missing <= 0 or monotonic() - self._looked < apart:
            return False
        self._looked = monotonic()
        return not self._redis.exists(keys.PAUSE, keys.FAILING)

    def _call(
        self, most_ms: int, slot: str, kind: str = "PUT", *, urgent: bool = False
    ) -> list[int]:
        # A worker that already waits for a job passes the gate before these are set.
        stopping = () if kind == "GET" else (keys.PAUSED, keys.BREAKER)
        names = [keys.SLOTS, keys.RATE, keys.PAUSE, *stopping]
        how = (most_ms, slot, STOPPED_MS, int(urgent), self._least, kind)
        replies = self._run("reserve", self._share, LIMIT, COST, *how, keys=names)
        return [int(reply) for reply in replies]


class Outage(Store):
    """Whether Vitally fails to answer; shared by all workers.

    The script that stores a confirmed write ends it, too.
    """

    def note(self, reason: str, now: int, next_ms: int = 0) -> None:
        """Note a failed request at *now* (ms), and when it is tried again."""
        row = {"reason": reason, "at": now, "next": now + next_ms}
        with self._redis.pipeline() as pipe:
            pipe.hsetnx(keys.FAILING, "since", str(now))
            pipe.hset(keys.FAILING, mapping=row)
            pipe.execute()

    def over(self) -> bool:
        """Note that it answers; True where it had failed before."""
        return bool(self._redis.delete(keys.FAILING))


FIRST_PROBE, LAST_PROBE = 3.0, 60.0
"""Seconds between checks whether a refused key works again: at first, at most."""

REMEMBERED = 600
"""Seconds for which an opening counts."""


class Breaker(Store):
    """Open while Vitally refuses the key or the address; shared by all workers."""

    def reason(self) -> str | None:
        """Why writes are stopped; None: they are not."""
        raw = self._redis.get(keys.BREAKER)
        return None if raw is None else str(raw.decode())

    def open(self, reason: str) -> bool:
        """Stop all writes; True for the worker that opened it."""
        if not self._redis.set(keys.BREAKER, reason, nx=True):
            return False
        with self._redis.pipeline() as pipe:
            pipe.incr(keys.OPENED)
            pipe.expire(keys.OPENED, REMEMBERED)
            pipe.execute()
        return True

    def patience(self) -> float:
        """Seconds between checks; longer if it opened repeatedly in recent minutes."""
        times = int(self._redis.get(keys.OPENED) or 1)
        return min(FIRST_PROBE * 2.0 ** (times - 1), LAST_PROBE)

    def close(self) -> bool:
        """Let writes go on; True for the worker that closed it."""
        return bool(self._redis.delete(keys.BREAKER))
