"""What a worker's jobs need, made once per process."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from functools import cached_property
from threading import Event
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from bridge.config import Config
from bridge.desired import rules
from bridge.domain.mass import Limits
from bridge.errors import StorageError
from bridge.guard import Guard
from bridge.log import fields
from bridge.queue import Queue
from bridge.settings import Settings
from bridge.sources import switched_on
from bridge.store.accept import Accept
from bridge.store.durations import REQUEST, Durations, status_class
from bridge.store.lease import Leases
from bridge.store.refresh import Refreshes
from bridge.throttle import Breaker, Outage, Throttle
from bridge.vitally.client import Call, Vitally

log = logging.getLogger("workers")

ANALYTICS_DEADLINE = 5.0
"""Seconds for a batch of instances; nothing that a customer pays waits for it."""


class Context:
    """Everything jobs use: Redis, Vitally, settings; *stop* is set when the worker must end.

    *requests* are those of the current job to Vitally.

    *apis* are the sources' APIs. *keys_needed* maps every source that is on to the
    setting that its API needs. *chance* returns a random number from 0 to 1.
    """

    def __init__(
        self, settings: Settings, config: Config, redis: Redis, stop: Event
    ) -> None:
        self.settings, self.config, self.redis = settings, config, redis
        self.rules = rules(config)
        self.stop, self.chance = stop, random.random
        self.queue = Queue(redis)
        self.accept = Accept(redis)
        self.leases = Leases(redis)
        self.refreshes = Refreshes(redis)
        self.breaker = Breaker(redis)
        self.outage = Outage(redis)
        self.throttle = Throttle(redis, settings.vitally_budget_share)
        self.requests: list[Call] = []
        self.durations = Durations()
        churn, mrr = settings.bridge_mass_churn, settings.bridge_mass_mrr
        self.guard = Guard(redis, Limits(churn, mrr, settings.bridge_mass_accounts))
        self.vitally = self.client(observe=self.throttle.learn, after=self.called)
        on = switched_on(settings.sources)
        apis = {source.name: source.api(settings.sources) for source in on}
        self.apis = {name: api for name, api in apis.items() if api}
        self.keys_needed = {source.name: source.key for source in on}

    @cached_property
    def analytics(self) -> Vitally:
        """A client of the Analytics API, for the thread of the jobs."""
        url = self.settings.vitally_analytics_url or ""
        key, patience = self.settings.analytics_authorization, ANALYTICS_DEADLINE
        return Vitally(url, key, after=self.called, deadline=patience)

    def client(self, **watched: Any) -> Vitally:
        """A client of Vitally; each thread needs one of its own."""
        url, key = self.settings.vitally_base_url, self.settings.vitally_authorization
        return Vitally(url, key, **watched)

    def repeat(
        self, step: Callable[[], float | None], every: float, until: Event | None = None
    ) -> None:
        """Call *step* every so many seconds until the worker stops, or *until* is set.

        It may return how many they are the next time. It may raise StorageError and redis'
        own errors: Redis is down, and will be back.
        """
        end, wait = until or self.stop, every
        while not end.wait(wait):
            try:
                wait = step() or every
            except (RedisError, StorageError) as error:
                log.warning("redis", extra=fields(reason=type(error).__name__))
                wait = every + 1.0

    def stop_writes(self, reason: str) -> None:
        """Stop all writes, of every worker."""
        if self.breaker.open(reason):
            log.critical("writes stopped", extra=fields(reason=reason))

    def resume_writes(self) -> None:
        """Let them go on."""
        if self.breaker.close():
            log.warning("writes resumed")

    def called(self, call: Call) -> None:
        """Note a request of the current job."""
        self.requests.append(call)
        self.measure(call)

    def measure(self, call: Call) -> None:
        """Note how long a request to Vitally took."""
        labels = (call.method, status_class(call.status))
        self.durations.add(REQUEST, call.seconds, *labels)
