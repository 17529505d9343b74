"""The schedule: reads what all accounts in Vitally hold, and mends what others changed.

The worker that sweeps does it, in a thread of its own: one request a second, and only
where a slot is free at once, so that no write waits for it. Where it is, Redis knows, so
another worker goes on after a crash.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from time import monotonic
from typing import Any

from redis.exceptions import RedisError

from bridge.domain.values import DAY_MS
from bridge.errors import (
    BridgeError,
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
)
from bridge.log import fields, where
from bridge.reconcile import Reconciler
from bridge.store import keys
from bridge.store.connect import milliseconds
from bridge.store.inspect import figures
from bridge.store.shadow import Shadow
from bridge.throttle import Throttle, wait_ms
from workers import outcomes
from workers.context import Context

log = logging.getLogger("workers.reconcile")

PERIODS = {"daily": DAY_MS, "weekly": 7 * DAY_MS}
"""BRIDGE_RECONCILE -> milliseconds from the end of one reconciliation to the next."""

FIRST_MS = 600_000
"""How long after its very first start the bridge begins to read."""

TICK, IDLE = 1.0, 5.0
"""Seconds between two requests; between two looks whether it is time to read."""

FIRST_REST, LAST_REST = 60.0, 3600.0
"""Seconds before a reading goes on that failed: at first, at most."""


class Schedule:
    """Reconciles while *worker* is the one that sweeps."""

    def __init__(self, context: Context, worker: str) -> None:
        settings, self.worker = context.settings, worker
        self.context, self.redis = context, context.redis
        self.period = PERIODS.get(settings.bridge_reconcile)
        self.throttle = Throttle(context.redis, settings.vitally_budget_share)
        # It has its own thread, and so its own connections.
        vitally = context.client(observe=self.throttle.learn)
        self.reconciler = Reconciler(
            context.redis, vitally, context.config, lambda: None, worker
        )
        self.reading: Iterator[int] | None = None
        self.read = self.failures = 0
        self.rests_until = 0.0

    def run(self) -> None:
        """Tick until the worker stops."""
        self.context.repeat(self._step, IDLE)

    def _step(self) -> float:
        try:
            self.tick()
        except RedisError:
            raise
        except Exception as error:  # noqa: BLE001 - no reading is worth a worker
            self._rest(LAST_REST, where(error))
        return TICK if self.reading else IDLE

    def tick(self) -> None:
        """Read one page more, if that is due; after the last one mend what drifted."""
        if not self.is_due() or monotonic() < self.rests_until:
            self.reading = None  # another may go on with it
        elif self.reconciler.is_fresh():
            self._mend()
        elif self.throttle.reserve_read(0) == 0:
            self._read()

    def is_due(self) -> bool:
        """Whether it is time, this worker's turn, and nothing speaks against requests."""
        if self.period is None:
            return False
        redis: Any = self.redis
        names = (keys.SWEEPER, keys.READER, keys.RECONCILED, keys.BREAKER, keys.PAUSED)
        sweeper, reader, done, *stops = redis.mget(names)
        now, me = milliseconds(redis), self.worker.encode()
        if done is None:
            redis.set(keys.RECONCILED, now - self.period + FIRST_MS, nx=True)
            return False
        is_ours = sweeper == me and reader in (None, me)
        return is_ours and stops == [None, None] and now >= int(done) + self.period

    def _read(self) -> None:
        self.reading = self.reading or self.reconciler.read()
        try:
            self.read = next(self.reading)
        except RedisError:
            self.reading = None  # it ended there, and that is no end of the list
            raise
        except StopIteration:
            self.reading = None
            self._mend()
        except VitallyLimitedError as error:
            self.throttle.pause(wait_ms(error.retry_after))
            self.reading = None
        except BridgeError as error:
            if isinstance(error, VitallyKeyError):
                self.context.stop_writes(outcomes.stopped(error))
            if isinstance(error, VitallyError):
                self._rest(FIRST_REST, error.brief)
            else:
                self._rest(LAST_REST, str(error))
        else:
            self.failures = 0

    def _rest(self, least: float, reason: str) -> None:
        """Give it up for a while: say why once, and try again later."""
        rest = min(LAST_REST, least * 2**self.failures)
        self.failures, self.reading = self.failures + 1, None
        self.rests_until = monotonic() + rest
        line = fields(reason=reason, again_in=f"{rest:g} s")
        log.warning("Vitally could not be read", extra=line)

    def _mend(self) -> None:
        redis: Any = self.redis
        drift = sorted(raw.decode() for raw in redis.smembers(keys.DRIFT))
        parties, now = Shadow(self.redis).party_of_each(drift), figures(self.redis)
        self.context.leases.look_again(parties, now.apart_ms)
        redis.set(keys.RECONCILED, now.now_ms)
        line = fields(accounts=self.read or None, drift=len(drift))
        log.info("Vitally was read", extra=line)
