"""Liveness stays true, readiness tells the truth, metrics come from Redis."""

from __future__ import annotations

import time

import pytest
from flask.testing import FlaskClient
from redis import Redis

from bridge.sources import load
from bridge.store import keys
from bridge.store.connect import connect
from bridge.store.health import DOWN, Watch
from bridge.web import create_app
from bridge.web.health import NO_WORKER
from tests.support.server import RedisServer

ENVIRON = {"VITALLY_API_KEY": "sk_example", "VITALLY_SUBDOMAIN": "acme"}


def make(redis: Redis, watch: Watch, url: str) -> FlaskClient:
    settings, _ = load(ENVIRON | {"REDIS_URL": url})
    return create_app(settings, redis=redis, watch=watch).test_client()


@pytest.fixture
def client(redis_server: RedisServer, redis: Redis, watch: Watch) -> FlaskClient:
    return make(redis, watch, redis_server.url)


def hear(redis: Redis, worker: str, ago: float = 0.0) -> None:
    redis.zadd(keys.WORKERS, {worker: round((time.time() - ago) * 1000)})


def test_with_a_worker_all_is_well(client: FlaskClient, redis: Redis) -> None:
    hear(redis, "w1")
    hear(redis, "w2", ago=60)
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json) == (200, {"ready": True})


def test_without_a_worker_it_is_not_ready(client: FlaskClient, redis: Redis) -> None:
    hear(redis, "w1", ago=20)
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json == {"ready": False, "reasons": [NO_WORKER]}


def test_a_refused_key_is_told(client: FlaskClient, redis: Redis) -> None:
    hear(redis, "w1")
    redis.set(keys.BREAKER, "the key is refused (401)")
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json is not None
    assert "the key is refused (401)" in answer.json["reasons"][0]


def test_metrics_are_the_figures(client: FlaskClient, redis: Redis) -> None:
    hear(redis, "w1")
    redis.hset(keys.COUNTERS, mapping={"received": 7, "held": 2, "outcome:updated": 3})
    redis.zadd(keys.DIRTY, {"stripe:cus_1": round((time.time() - 30) * 1000)})
    answer = client.get("/metrics")
    told = dict(
        line.rsplit(" ", 1)
        for line in answer.text.splitlines()
        if not line.startswith("#")
    )

    assert answer.content_type.startswith("text/plain; version=")
    assert told["vitally_bridge_redis_up"] == "1.0"
    assert told["vitally_bridge_received_total"] == "7.0"
    assert told["vitally_bridge_held"] == "2.0"
    assert told["vitally_bridge_workers"] == "1.0"
    assert told["vitally_bridge_stopped"] == "0.0"
    assert told['vitally_bridge_jobs_total{outcome="updated"}'] == "3.0"
    assert 30 <= float(told["vitally_bridge_oldest_seconds"]) < 40


def test_with_a_dead_redis_only_liveness_is_true() -> None:
    with RedisServer() as server:
        redis = connect(server.url, verify_tls=True, timeout=0.45, most=2)
        watch = Watch(redis)
        client = make(redis, watch, server.url)
        watch.look()
        server.kill()
        # Found out first by a page, later by the watch: told alike.
        first = client.get("/readyz")
        watch.look()
        second = client.get("/readyz")
        metrics = client.get("/metrics")
        alive = client.get("/healthz")
        watch.stop()
        redis.close()

    assert first.json == second.json == {"ready": False, "reasons": [DOWN]}
    assert (metrics.status_code, alive.status_code) == (200, 200)
    assert "vitally_bridge_redis_up 0.0" in metrics.text
    assert "vitally_bridge_received" not in metrics.text
    assert alive.json == {"alive": True}
