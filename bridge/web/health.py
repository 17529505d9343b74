"""`/healthz`, `/readyz` and `/metrics`: is the process alive, is the bridge ready, figures.

All but `/healthz` is read from Redis for each request, so every web process gives the
same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import accumulate
from typing import Any

import orjson
from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from bridge.errors import StorageError
from bridge.lamps import CHOSEN, CONDITIONS, Lamp, compared, complete, lamps
from bridge.settings import Settings
from bridge.store.durations import DURATIONS, histograms
from bridge.store.health import DOWN, Watch
from bridge.store.inspect import METRICS, PREFIX, Figures, figures
from bridge.web.hooks import JSON

OPENAPI = files(__package__).joinpath("openapi.json").read_bytes()
"""All that the web process answers, described for programs."""

KINDS = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class Health(Collector):
    """The state of the bridge, as sentences and as metrics."""

    def __init__(self, redis: Redis, watch: Watch, settings: Settings) -> None:
        self._redis = redis
        self._watch = watch
        self._settings = settings

    def reasons(self) -> tuple[list[str], list[str]]:
        """The reasons why the bridge is not ready, and notes; each is a sentence.

        A note is something wrong that leaves it ready, a state that somebody chose, or
        up to when a source is complete.
        """
        seen = self._figures()
        lit = self._lamps(seen)
        notes = (lamp for lamp in lit if lamp.level == "warn" or lamp.kind in CHOSEN)
        bad = (lamp.text for lamp in lit if lamp.level == "bad")
        known = complete(seen, self._settings) if seen else {}
        so_far = (
            f"{title} is {words}."
            for title, words in known.items()
            if not words.startswith("not")
        )
        return list(bad), [*(lamp.text for lamp in notes), *so_far]

    def lit(self) -> list[Lamp]:
        """The lamps that are lit now; without Redis, only Redis' own."""
        return self._lamps(self._figures())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the table that are known, then the histograms.

        Without Redis these are `redis_up`, and which lamps are lit.
        """
        seen = self._figures()
        lit = {lamp.kind for lamp in self._lamps(seen)}
        values: dict[str, Any] = {
            "redis_up": seen is not None,
            "lamp": {(row.kind, row.level): row.kind in lit for row in CONDITIONS},
            **(self._values(seen) if seen else {}),
        }
        for row in METRICS:
            if row.figure in values:
                metric = KINDS[row.kind](row.full_name, row.meaning, labels=row.labels)
                value = values[row.figure]
                for labels, number in value.items() if row.labels else [((), value)]:
                    metric.add_metric(labels, number)
                yield metric
        if seen:
            yield from _durations(seen)

    def _values(self, seen: Figures) -> Mapping[str, Any]:
        """Figure -> its value; of a metric with labels, one for each of their values."""
        points = {
            (name,): point
            for name, (_, point) in compared(seen, self._settings).items()
        }
        refused = sorted(seen.refused.items())
        return seen._asdict() | {
            "oldest_seconds": (seen.oldest_ms or 0) / 1000,
            "listed_seconds": (seen.listed_at or 0) / 1000,
            "drain_seconds": seen.drained_in(self._settings.vitally_budget_share),
            "workers": len(seen.heard),
            "stopped": seen.breaker is not None,
            "paused": seen.paused is not None,
            "jobs": {(word,): number for word, number in sorted(seen.outcomes.items())},
            "refused": {tuple(name.split(":")): number for name, number in refused},
            "complete": {name: point.up_to / 1000 for name, point in points.items()},
            "gaps": {name: point.total for name, point in points.items()},
        }

    def _lamps(self, seen: Figures | None) -> list[Lamp]:
        return lamps(seen, self._watch.health(), self._settings)

    def _figures(self) -> Figures | None:
        if DOWN in self._watch.health().refusals:
            return None
        try:
            return figures(self._redis)
        except (RedisError, StorageError, OSError):
            self._watch.failed()
            return None


def _durations(seen: Figures) -> Iterator[Metric]:
    for name, what in DURATIONS.items():
        full = f"{PREFIX}{name}_seconds"
        metric = HistogramMetricFamily(full, what.meaning, labels=what.labels)
        bounds = [*map(str, what.bounds), "+Inf"]
        for labels, counts, total in histograms(seen.durations, name):
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            metric.add_metric(labels, buckets, total)
        yield metric


def add_health(app: Flask, redis: Redis, watch: Watch, settings: Settings) -> Health:
    """Add `/readyz`, `/metrics`, and `/healthz` and `/openapi.json`, which use no Redis."""
    health = Health(redis, watch, settings)
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

    @app.get("/openapi.json")
    def openapi() -> Response:
        return Response(OPENAPI, content_type=JSON)

    return health
