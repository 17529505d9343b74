"""The sweeper: heals whatever the queue, a deploy or a `kill -9` lost.

The `dirty` set is the record; a job is only its messenger. One worker sweeps at a
time. A job that waits in the list is alive, however long; so is one whose account is
leased, and a party that waits for its next try. Any other dirty party gets a new job.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from bridge.errors import VitallyError, VitallyMissingError
from bridge.log import fields
from bridge.queue import Queue
from bridge.store import keys
from bridge.store.lease import Leases
from bridge.store.operator import Breaker
from bridge.vitally.client import Vitally

log = logging.getLogger("workers.sweep")

TICK = 0.25
"""Seconds between looks for parties whose next try is due."""

SWEEP, SLOW_SWEEP = 1.0, 3.0
"""Seconds between looks for lost jobs; the second where thousands are on their way."""

MANY = 1000

HALF_OPEN = 30.0
"""Seconds after which a write is tried although the address does not look right."""

GRACE_MS = 2000
"""How long a claim without a job, or a job without a lease, may be on its way."""

BATCH = 5000
LEADER_MS = 4000


@dataclass(slots=True, kw_only=True)
class Sweeper:
    """Sweeps while *worker* is the one to sweep."""

    worker: str
    redis: Redis
    leases: Leases
    queue: Queue
    breaker: Breaker
    vitally: Vitally
    stop: threading.Event
    suspects: dict[str, tuple[str, float]] = field(default_factory=dict)
    swept: float = 0.0
    pause: float = SWEEP
    probed: float = 0.0
    shut: float = 0.0

    def run(self) -> None:
        """Tick until the worker stops; a Redis that is away is waited for."""
        while not self.stop.is_set():
            try:
                self.tick()
            except RedisError as error:
                log.warning("redis", extra=fields(reason=type(error).__name__))
                self.stop.wait(1.0)
            self.stop.wait(TICK)

    def tick(self) -> None:
        """One look: due parties, lost jobs, a refused key."""
        now = monotonic()
        if not self._leads():
            return
        self.queue.push_all(self.leases.claim_due(BATCH), "next try")
        if now - self.swept >= self.pause:
            self.swept = now
            self.sweep()
        if self.breaker.reason() is None:
            self.probed = self.shut = now
        elif now - self.probed >= self.breaker.patience():
            self.probed = now
            self.probe()

    def sweep(self) -> None:
        """Give every dirty party whose job is lost a new one."""
        now = self._now()
        self.pause = SLOW_SWEEP if self.redis.zcard(keys.DIRTY) > MANY else SWEEP
        old: Any = self.redis.zrangebyscore(
            keys.DIRTY, "-inf", now - GRACE_MS, start=0, num=BATCH
        )
        if not old:
            self.suspects.clear()
            return
        waiting = set(self.queue.waiting())
        parties = [raw.decode() for raw in old]
        suspects: dict[str, tuple[str, float]] = {}
        for party, row in zip(parties, self._rows(parties), strict=True):
            claim, job, number = row["claim"], row["job"], row["claims"]
            postponed = claim == "later" and row["later"]
            if postponed or row["leased"] or (claim == "queued" and job in waiting):
                continue
            mark = f"{number} {claim} {job}"
            first = self.suspects.get(party, (mark, monotonic()))
            since = first[1] if first[0] == mark else monotonic()
            suspects[party] = (mark, since)
            if (monotonic() - since) * 1000 >= GRACE_MS:
                self._requeue(party, number, job)
                suspects.pop(party)
        self.suspects = suspects

    def probe(self) -> None:
        """Close the breaker where Vitally takes the key again.

        A 404 to the probe is no word about the key; after a while one write is let
        through to see whether the address is right by now.
        """
        try:
            self.vitally.probe()
        except VitallyMissingError:
            about_key = "key" in (self.breaker.reason() or "")
            if not about_key and monotonic() - self.shut < HALF_OPEN:
                return
        except VitallyError:
            return
        if self.breaker.close():
            log.warning("writes resumed")

    def _requeue(self, party: str, number: str, job: str) -> None:
        claims = self.leases.claim_lost(party, number)
        if claims:
            log.warning("requeued", extra=fields(party=party, job=job))
            if job:
                self.queue.forget(job)
            self.queue.push_all(claims, "requeued by the sweeper")

    def _rows(self, parties: list[str]) -> list[dict[str, str]]:
        names = ("claim", "job", "claims", "account")
        with self.redis.pipeline(transaction=False) as pipe:
            for party in parties:
                pipe.hmget(keys.party(party), *names)
                pipe.zscore(keys.LATER, party)
            found = pipe.execute()
            rows = [
                {n: (raw or b"").decode() for n, raw in zip(names, values, strict=True)}
                | {"later": "" if later is None else "1"}
                for values, later in zip(found[::2], found[1::2], strict=True)
            ]
            for party, row in zip(parties, rows, strict=True):
                pipe.exists(keys.lease(row["account"]), keys.lease(party))
            leased = pipe.execute()
        return [
            row | {"claims": row["claims"] or "0", "leased": "1" if one else ""}
            for row, one in zip(rows, leased, strict=True)
        ]

    def _leads(self) -> bool:
        """Whether this worker is the one to sweep now."""
        if self.redis.set(keys.SWEEPER, self.worker, nx=True, px=LEADER_MS):
            return True
        holder: Any = self.redis.get(keys.SWEEPER)
        if holder is None or holder.decode() != self.worker:
            return False
        self.redis.pexpire(keys.SWEEPER, LEADER_MS)
        return True

    def _now(self) -> int:
        seconds, micros = self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def leave(self) -> None:
        """Take this worker off the list; another may sweep at once."""
        self.redis.zrem(keys.WORKERS, self.worker)
        holder: Any = self.redis.get(keys.SWEEPER)
        if holder is not None and holder.decode() == self.worker:
            self.redis.delete(keys.SWEEPER)
