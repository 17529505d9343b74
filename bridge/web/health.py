"""Whether the process lives, whether the bridge can do its work, and its figures.

All but `/healthz` is read from Redis when somebody asks, and so the same whichever of
the web processes answers.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson
from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from bridge.errors import StorageError
from bridge.store.health import DOWN, Watch
from bridge.store.inspect import Figures, figures
from bridge.web.hooks import JSON

NO_WORKER = "No worker has been heard from for 15 s."

PREFIX = "vitally_bridge_"

COUNTERS = {
    "received": "Events received, per party.",
    "accepted": "Events taken as new facts.",
    "duplicate": "Events that were known.",
    "ignored": "Events of no concern.",
    "quarantine_dropped": "Deliveries kept unread that had to go.",
    "writes": "Writes made to Vitally.",
    "saved": "Writes that were not needed.",
    "discarded": "Settled events that were given up by hand, without a write.",
}
"""Figure -> what it counts; in the metric's name, `_total` follows."""

GAUGES = {
    "quarantined": "Events kept unread now; a replay or a drop takes them off.",
    "quarantine_bytes": "Bytes of the deliveries that are kept unread.",
    "settled": "Accepted events that Vitally has.",
    "pending": "Accepted events on their way.",
    "held": "Accepted events without an account.",
    "parked": "Accepted events that Vitally refuses.",
    "waiting": "Jobs in the queue.",
    "dirty": "Parties with an unsettled event.",
    "held_parties": "Parties without account.",
    "parked_parties": "Parties refused.",
    "incomplete": "Parties with an incomplete history.",
    "unknown": "Accounts with a trait that cannot be known.",
    "unread": "Objects whose events have no content, held for want of an API key.",
    "oldest_seconds": "Age of the oldest change that is not in Vitally; 0: there is none.",
    "drain_seconds": "Seconds that Vitally's rate limit needs for all that waits.",
    "workers": "Workers heard from in the last 15 s.",
    "stopped": "1 while all writes have stopped because Vitally refuses the key.",
    "paused": "1 while somebody has stopped all writes by hand.",
}
"""Figure -> what it is now."""

METRICS = {CounterMetricFamily: COUNTERS, GaugeMetricFamily: GAUGES}

NAMES = {
    "saved": "writes_saved",
    "quarantined": "quarantined_total",
    "waiting": "jobs_waiting",
    "dirty": "parties_dirty",
    "held_parties": "parties_held",
    "parked_parties": "parties_parked",
    "incomplete": "parties_incomplete",
    "unknown": "accounts_unknown",
    "unread": "events_unread",
}
"""Figure -> its metric, where that has another name."""


class Health(Collector):
    """What is known of the bridge, as sentences and as metrics.

    *share* is the bridge's part of Vitally's rate limit.
    """

    def __init__(self, redis: Redis, watch: Watch, share: float) -> None:
        self._redis = redis
        self._watch = watch
        self._share = share

    def reasons(self) -> tuple[list[str], list[str]]:
        """Why the bridge cannot do its work, a sentence each; none: it can.

        And, second, what is as somebody wants it, but should not be forgotten.
        """
        reasons = list(self._watch.trouble())
        seen = self._figures()
        if seen is None:
            return list(dict.fromkeys((*reasons, DOWN))), []
        if not seen.heard:
            reasons.append(NO_WORKER)
        if seen.breaker is not None:
            reasons.append(f"All writes have stopped: {seen.breaker}.")
        paused = seen.paused is not None
        return reasons, [f"All writes are paused by hand: {seen.paused}."] * paused

    def collect(self) -> Iterator[Metric]:
        """Yield `redis_up`, and all the rest only where it is 1."""
        seen = self._figures()
        up = seen is not None
        yield GaugeMetricFamily(f"{PREFIX}redis_up", "1 while Redis answers.", up)
        if seen is None:
            return
        values = seen._asdict() | {
            "oldest_seconds": (seen.oldest_ms or 0) / 1000,
            "drain_seconds": seen.drained_in(self._share),
            "workers": len(seen.heard),
            "stopped": seen.breaker is not None,
            "paused": seen.paused is not None,
        }
        for kind, meanings in METRICS.items():
            for figure, meaning in meanings.items():
                name = PREFIX + NAMES.get(figure, figure)
                yield kind(name, meaning, value=values[figure])
        jobs = CounterMetricFamily(
            f"{PREFIX}jobs", "Jobs done, by outcome.", labels=["outcome"]
        )
        for outcome, count in sorted(seen.outcomes.items()):
            jobs.add_metric([outcome], count)
        yield jobs

    def _figures(self) -> Figures | None:
        if DOWN in self._watch.trouble():
            return None
        try:
            return figures(self._redis)
        except (RedisError, StorageError, OSError):
            self._watch.failed()
            return None


def add_health(app: Flask, redis: Redis, watch: Watch, share: float) -> None:
    """Add `/healthz`, which asks nobody, `/readyz` and `/metrics`."""
    health = Health(redis, watch, share)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(health)

    @app.get("/healthz")
    def healthz() -> Response:
        return Response(b'{"alive":true}', content_type=JSON)

    @app.get("/readyz")
    def readyz() -> Response:
        reasons, notes = health.reasons()
        content = {"ready": not reasons, "reasons": reasons, "notes": notes}
        body = orjson.dumps({k: v for k, v in content.items() if v != []})
        return Response(body, 503 if reasons else 200, content_type=JSON)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
