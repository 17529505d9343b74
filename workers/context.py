"""What a worker's jobs need, made once per process."""

from __future__ import annotations

import random
import threading

from redis import Redis

from bridge.config import Config
from bridge.desired import rules
from bridge.domain.mass import Limits
from bridge.guard import Guard
from bridge.queue import Queue
from bridge.settings import Settings
from bridge.sources import switched_on
from bridge.store.accept import Accept
from bridge.store.durations import REQUEST, Durations, status_class
from bridge.store.lease import Leases
from bridge.store.refresh import Refreshes
from bridge.throttle import Breaker, Outage, Throttle
from bridge.vitally.client import Call, Vitally


class Context:
    """Everything jobs use: Redis, Vitally, settings; *stop* is set when the worker must end.

    *requests* are those of the current job to Vitally.

    *apis* are the sources' APIs. *keys_needed* maps every source that is on to the
    setting that its API needs. *chance* returns a random number from 0 to 1.
    """

    def __init__(
        self, settings: Settings, config: Config, redis: Redis, stop: threading.Event
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
        limits = Limits(
            settings.bridge_mass_churn,
            settings.bridge_mass_mrr,
            settings.bridge_mass_accounts,
        )
        self.guard = Guard(redis, limits)
        self.vitally = Vitally(
            settings.vitally_base_url,
            settings.vitally_authorization,
            observe=self.throttle.learn,
            after=self.called,
        )
        on = switched_on(settings.sources)
        apis = {source.name: source.api(settings.sources) for source in on}
        self.apis = {name: api for name, api in apis.items() if api}
        self.keys_needed = {source.name: source.key for source in on}

    def called(self, call: Call) -> None:
        """Note a request of the current job."""
        self.requests.append(call)
        self.measure(call)

    def measure(self, call: Call) -> None:
        """Note how long a request to Vitally took."""
        labels = (call.method, status_class(call.status))
        self.durations.add(REQUEST, call.seconds, *labels)
