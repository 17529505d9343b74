"""Whoever redirects a request of ours, or names another host, gets no secret there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from bridge.alerts import Alerts
from bridge.errors import BridgeError, SourceError
from bridge.settings import Settings
from bridge.sources import discover, load
from bridge.store import keys
from bridge.store.health import RedisHealth
from bridge.vitally.client import Vitally
from tests.support.local_api import Asked, Json, LocalApi, Reply


class Place(LocalApi):
    """Sends everybody *elsewhere*, or answers with *body*."""

    elsewhere = ""
    body: Json | None = None

    def answer(self, asked: Asked) -> Reply:
        location = {"Location": self.elsewhere + asked.path}
        return Reply(self.body) if self.body else Reply({}, 307, location)


@pytest.fixture
def elsewhere() -> Iterator[Place]:
    with Place() as running:
        yield running


@pytest.fixture
def near(elsewhere: Place) -> Iterator[Place]:
    with Place() as running:
        running.elsewhere = elsewhere.url.replace("127.0.0.1", "localhost")
        yield running


@pytest.fixture
def settings(near: Place) -> Settings:
    bases = ("STRIPE_API_BASE", "HUBSPOT_API_BASE", "SALESFORCE_API_BASE")
    keys = ("HUBSPOT_ACCESS_TOKEN", "SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET")
    addresses = ("BRIDGE_ALERT_URL", "BRIDGE_HEARTBEAT_URL", "VITALLY_BASE_URL")
    environ = dict.fromkeys((*bases, *addresses, "CHARGEBEE_API_BASE"), near.url)
    environ |= dict.fromkeys((*keys, "CHARGEBEE_API_KEY"), "key-example")
    environ |= {"STRIPE_API_KEY": "rk_test_example", "STRIPE_MODE": "test"}
    environ |= {"CHARGEBEE_SITE": "acme", "VITALLY_API_KEY": "key-example"}
    return load({"REDIS_URL": "redis://127.0.0.1:1", **environ})[0]


def heartbeat(settings: Settings, redis: Redis) -> None:
    redis.zadd(keys.WORKERS, {"one": 2**50})
    Alerts(redis, settings, lambda: RedisHealth(0, ()), lambda: True).check()
    raise BridgeError("it was told in the log")


def vitally(settings: Settings, _: Redis) -> None:
    Vitally(settings.vitally_base_url, settings.vitally_authorization).probe()


def source(name: str) -> Callable[[Settings, Redis], None]:
    def call(settings: Settings, _: Redis) -> None:
        api = discover()[name].api
        assert api is not None
        made = api(settings.sources)
        assert made is not None
        made.probe()

    return call


CALLS = {
    "alerts": heartbeat,
    "vitally": vitally,
    **{name: source(name) for name in ("stripe", "hubspot", "salesforce", "chargebee")},
}


@pytest.mark.parametrize("name", CALLS)
def test_no_redirect_is_followed(name, settings, redis, near, elsewhere) -> None:
    with pytest.raises(BridgeError):
        CALLS[name](settings, redis)

    assert near.log
    assert [] == elsewhere.log


def test_salesforce_s_token_goes_to_no_other_host(settings, redis, near, elsewhere):
    near.body = {"access_token": "a", "instance_url": near.elsewhere, "id": "x/id/00D"}
    with pytest.raises(SourceError, match="names another host than SALESFORCE_API_"):
        source("salesforce")(settings, redis)

    assert [] == elsewhere.log
