"""What Prometheus is told: the figures in Redis, read at each scrape.

They are the same whichever web process is asked, so any number of them may run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from bridge.errors import StorageError
from bridge.store.health import DOWN, Watch
from bridge.store.inspect import Figures, figures
from bridge.web.health import heard

PREFIX = "vitally_bridge_"

Kind = type[CounterMetricFamily] | type[GaugeMetricFamily]


class Row(NamedTuple):
    """One metric: its name after PREFIX, its kind, its meaning, its value."""

    name: str
    kind: Kind
    meaning: str
    value: Callable[[Figures], float]


COUNTER, GAUGE = CounterMetricFamily, GaugeMetricFamily

ROWS = (
    Row("received", COUNTER, "Events received, per party.", lambda f: f.received),
    Row("accepted", COUNTER, "Events taken as new facts.", lambda f: f.accepted),
    Row("duplicate", COUNTER, "Events that were known.", lambda f: f.duplicate),
    Row("ignored", COUNTER, "Events of no concern.", lambda f: f.ignored),
    Row(
        "quarantined_total",
        GAUGE,
        "Events kept unread now; a replay or a drop takes them off.",
        lambda f: f.quarantined,
    ),
    Row(
        "quarantine_bytes",
        GAUGE,
        "Bytes of the deliveries that are kept unread.",
        lambda f: f.quarantine_bytes,
    ),
    Row(
        "quarantine_dropped",
        COUNTER,
        "Deliveries kept unread that had to go.",
        lambda f: f.quarantine_dropped,
    ),
    Row("settled", GAUGE, "Accepted events that Vitally has.", lambda f: f.settled),
    Row("pending", GAUGE, "Accepted events on their way.", lambda f: f.pending),
    Row("held", GAUGE, "Accepted events without an account.", lambda f: f.held),
    Row("parked", GAUGE, "Accepted events that Vitally refuses.", lambda f: f.parked),
    Row("jobs_waiting", GAUGE, "Jobs in the queue.", lambda f: f.waiting),
    Row(
        "oldest_seconds",
        GAUGE,
        "Age of the oldest change that is not in Vitally; 0: there is none.",
        lambda f: (f.oldest_ms or 0) / 1000,
    ),
    Row("parties_dirty", GAUGE, "Parties with an unsettled event.", lambda f: f.dirty),
    Row("parties_held", GAUGE, "Parties without account.", lambda f: f.held_parties),
    Row("parties_parked", GAUGE, "Parties refused.", lambda f: f.parked_parties),
    Row(
        "parties_incomplete",
        GAUGE,
        "Parties with an incomplete history.",
        lambda f: f.incomplete,
    ),
    Row(
        "accounts_unknown",
        GAUGE,
        "Accounts with a trait that cannot be known.",
        lambda f: f.unknown,
    ),
    Row(
        "events_unread",
        GAUGE,
        "Objects whose events have no content, held for want of an API key.",
        lambda f: f.unread,
    ),
    Row("writes", COUNTER, "Writes made to Vitally.", lambda f: f.writes),
    Row("writes_saved", COUNTER, "Writes that were not needed.", lambda f: f.saved),
    Row("workers", GAUGE, "Workers heard from in the last 15 s.", heard),
    Row(
        "stopped",
        GAUGE,
        "1 while all writes have stopped because Vitally refuses the key.",
        lambda f: f.breaker is not None,
    ),
    Row(
        "paused",
        GAUGE,
        "1 while somebody has stopped all writes by hand.",
        lambda f: f.paused is not None,
    ),
    Row(
        "discarded",
        COUNTER,
        "Settled events that were given up by hand, without a write.",
        lambda f: f.discarded,
    ),
)
"""Every metric but `redis_up`, `drain_seconds` and `jobs`; a counter is shown with `_total` at its end."""


class FiguresCollector(Collector):
    """Turns the figures of one moment into metrics."""

    def __init__(self, redis: Redis, watch: Watch, budget_share: float) -> None:
        self._redis = redis
        self._watch = watch
        self._share = budget_share

    def collect(self) -> Iterator[Metric]:
        """Yield `redis_up`, and all the rest only where it is 1."""
        seen = self._figures()
        yield GAUGE(
            f"{PREFIX}redis_up", "1 while Redis answers.", value=seen is not None
        )
        if seen is not None:
            for row in ROWS:
                yield row.kind(PREFIX + row.name, row.meaning, value=row.value(seen))
            yield GAUGE(
                f"{PREFIX}drain_seconds",
                "Seconds that Vitally's rate limit needs for all that waits.",
                value=seen.drained_in(self._share),
            )
            yield _jobs(seen)

    def _figures(self) -> Figures | None:
        if DOWN in self._watch.trouble():
            return None
        try:
            return figures(self._redis)
        except (RedisError, StorageError, OSError):
            self._watch.failed()
            return None


def _jobs(seen: Figures) -> Metric:
    """`jobs_total{outcome="updated"}`: what the jobs came to."""
    found = COUNTER(f"{PREFIX}jobs", "Jobs done, by outcome.", labels=["outcome"])
    for outcome, count in sorted(seen.outcomes.items()):
        found.add_metric([outcome], count)
    return found


def add_metrics(app: Flask, redis: Redis, watch: Watch, budget_share: float) -> None:
    """Add `/metrics`; *budget_share* is the bridge's part of Vitally's rate limit."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FiguresCollector(redis, watch, budget_share))

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
