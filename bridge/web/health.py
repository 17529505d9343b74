"""Whether the process lives, and whether the bridge as a whole can do its work."""

from __future__ import annotations

import orjson
from flask import Flask, Response
from redis import Redis
from redis.exceptions import RedisError

from bridge.errors import StorageError
from bridge.store.health import DOWN, Watch
from bridge.store.inspect import Figures, figures

JSON = "application/json"

NO_WORKER = "No worker has been heard from for 15 s."

ALIVE = orjson.dumps({"alive": True})
READY = {"ready": True}


def heard(seen: Figures) -> int:
    """Return how many workers were heard from lately."""
    return len(seen.heard)


def reasons(redis: Redis, watch: Watch) -> tuple[list[str], list[str]]:
    """Say, in a sentence each, why the bridge cannot do its work (none: it can).

    And, second, what is as somebody wants it, but should not be forgotten.
    """
    found = list(watch.trouble())
    if DOWN in found:
        return found, []
    try:
        seen = figures(redis)
    except (RedisError, StorageError, OSError):
        watch.failed()
        return [*found, DOWN], []
    if not heard(seen):
        found.append(NO_WORKER)
    if seen.breaker is not None:
        found.append(f"All writes have stopped: {seen.breaker}.")
    if seen.paused is None:
        return found, []
    return found, [f"All writes are paused by hand: {seen.paused}."]


def add_health(app: Flask, redis: Redis, watch: Watch) -> None:
    """Add `/healthz`, which asks nobody, and `/readyz`."""

    @app.get("/healthz")
    def healthz() -> Response:
        return Response(ALIVE, content_type=JSON)

    @app.get("/readyz")
    def readyz() -> Response:
        found, notes = reasons(redis, watch)
        told = {"ready": False, "reasons": found} if found else READY
        body = orjson.dumps(told | ({"notes": notes} if notes else {}))
        return Response(body, 503 if found else 200, content_type=JSON)
