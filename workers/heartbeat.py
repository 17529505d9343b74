"""The heartbeat of a worker: it is there, and the lease in its hand is still wanted.

A lease is short, so that what a dead worker held is free soon; a living one prolongs it
for as long as its job is inside the job's own deadline.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from time import monotonic

from redis import Redis
from redis.exceptions import RedisError

from bridge.errors import LostLeaseError
from bridge.log import fields
from bridge.store import keys
from bridge.store.lease import Leases
from bridge.store.view import Lease

log = logging.getLogger("workers.heartbeat")

BEAT = 1.0
"""Seconds between beats."""

DEADLINE = 75.0
"""Seconds after which a job that still holds its lease is taken to be stuck."""

FORGOTTEN_MS = 60_000
"""After so long a silent worker is taken off the list."""


@dataclass(slots=True)
class HeldLease:
    """The lease that a worker holds right now; the job puts it there."""

    lease: Lease | None = None
    since: float = 0.0

    def take(self, lease: Lease | None) -> None:
        """Hold *lease* from now on; None: a job that needs none begins."""
        self.since = monotonic()
        self.lease = lease

    def drop(self) -> None:
        """Hold nothing."""
        self.lease = None


@dataclass(slots=True, kw_only=True)
class Heartbeat:
    """Beats for *worker* until the stop."""

    worker: str
    redis: Redis
    leases: Leases
    held: HeldLease
    stop: threading.Event
    """Set when the last job is done: a job in hand outlives the wish to stop."""

    def run(self) -> None:
        """Beat until the end; a Redis that is away is waited for."""
        while not self.stop.wait(BEAT):
            try:
                self.beat()
            except RedisError as error:
                log.warning("redis", extra=fields(reason=type(error).__name__))

    def beat(self) -> None:
        """Say that the worker is there, and prolong its lease."""
        lease = self.held.lease
        if lease and monotonic() - self.held.since < DEADLINE:
            try:
                self.leases.renew(lease)
            except LostLeaseError:
                log.warning("lease lost", extra=fields(account=lease.account))
        seconds, micros = self.redis.time()
        now = int(seconds) * 1000 + int(micros) // 1000
        with self.redis.pipeline() as pipe:
            pipe.zadd(keys.WORKERS, {self.worker: now})
            pipe.zremrangebyscore(keys.WORKERS, "-inf", now - FORGOTTEN_MS)
            pipe.execute()
