"""A worker's desk, the web's watch and the commands, each on the shared server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from flask.testing import FlaskClient
from redis import Redis

from bridge.config import Config
from bridge.ingest import Ingress
from bridge.sources import discover
from bridge.store.health import Watch
from bridge.web import create_app
from tests.support.command import Run, called
from tests.support.desk import Bench, bench, customer, settings, subscription
from tests.support.local_stripe import LocalStripe
from tests.support.server import RedisServer
from tests.support.visitor import Visitor


@pytest.fixture
def desk(redis: Redis) -> Iterator[Bench]:
    with bench(redis) as made:
        yield made


@pytest.fixture
def acme(desk: Bench) -> Bench:
    """The same, with an account that was written and has rested."""
    desk.rests(customer(), subscription())
    return desk


@pytest.fixture
def ingress(desk: Bench, redis_server: RedisServer) -> Ingress:
    """The way in to the desk, for Stripe and HubSpot."""
    chosen = settings(
        desk.vitally.url,
        redis_server.url,
        HUBSPOT_CLIENT_SECRET="example-client-secret",
    )
    return Ingress(chosen, desk.redis, discover().values())


@pytest.fixture
def watch(redis: Redis) -> Iterator[Watch]:
    """One that has looked once; its thread does not run."""
    made = Watch(redis)
    made.check()
    yield made
    made.stop()


@pytest.fixture
def web(desk: Bench, ingress: Ingress, watch: Watch) -> FlaskClient:
    """The whole web app, before the desk."""
    key = {"STRIPE_API_KEY": "rk_live_example"}
    chosen = settings(desk.vitally.url, "redis://127.0.0.1:1/0", **key)
    app = create_app(chosen, ingress=ingress, redis=desk.redis, watch=watch)
    return app.test_client()


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    """Stripe's API, empty."""
    with LocalStripe() as running:
        yield running


@pytest.fixture
def environ(redis_server: RedisServer, desk: Bench) -> dict[str, str]:
    """The settings of a command, beside the desk."""
    return {
        "REDIS_URL": redis_server.url,
        "VITALLY_API_KEY": "sk_test_example",
        "VITALLY_BASE_URL": desk.vitally.url,
        "STRIPE_WEBHOOK_SECRET": "whsec_example",
    }


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    """Call a command here, with these settings."""
    return partial(called, environ=environ)


@pytest.fixture
def visit(redis_server: RedisServer, redis: Redis, watch: Watch) -> Visitor:
    environ = {"CONSOLE_USERNAME": "ada", "CONSOLE_PASSWORD": "console-example"}
    environ["CONSOLE_USERS"] = "ann:read-only:a-nn,bob:operator:b:ob"
    chosen = settings("http://127.0.0.1:1", redis_server.url, **environ)
    return Visitor(create_app(chosen, Config(), redis=redis, watch=watch), redis)
