"""What is wrong is told once, whoever sees it, and once more when it is over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from bridge import alerts as subject
from bridge.alerts import Alerts
from bridge.lamps import REDIS
from bridge.settings import Settings
from bridge.sources import options
from bridge.sources.stripe.api import connect as connect_stripe
from bridge.store import keys
from bridge.store.connect import connect
from bridge.store.health import DOWN, RedisHealth
from bridge.store.inspect import figures
from bridge.web import leads_alone
from tests.support.desk import customer, settings, subscription
from tests.support.hook import Hook
from tests.support.local_stripe import KEY, LocalStripe
from tests.support.processes import free_port
from tests.support.raw import trickling
from tests.support.round_trips import round_trips
from workers.probes import Probes

RAISED, OVER = ("parked", "raised"), ("parked", "over")
WELL = RedisHealth(0, ())


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as running:
        yield running


@pytest.fixture
def make(redis: Redis, hook: Hook, monkeypatch: pytest.MonkeyPatch):
    """Make what one process has; *leads* and Redis' *view* are the test's."""
    monkeypatch.setattr(subject, "GONE_MS", 0)
    monkeypatch.setattr(subject, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(subject, "REDIS", REDIS._replace(after_s=0))
    redis.zadd(keys.WORKERS, {"one": 2**50})

    def one(
        redis: Redis = redis,
        view: Callable[[], RedisHealth] = lambda: WELL,
        leads: Callable[[], bool] = lambda: True,
    ) -> Alerts:
        environ = {"BRIDGE_ALERT_URL": f"{hook.url}/alert?token=hidden"}
        unset = {"REDIS_URL", "VITALLY_API_KEY"}
        settings = Settings.from_env(environ, options(), without=unset)
        return Alerts(redis, settings, view, leads)

    return one


def park(redis: Redis) -> None:
    redis.zadd(keys.PARKED, {"stripe:cus_1": 1})


def test_no_process_repeats_what_another_has_said_nor_after_a_restart(
    redis: Redis, hook: Hook, make: Callable[..., Alerts]
) -> None:
    one, other = make(), make()
    one.check()
    park(redis)
    for process in (one, other, make(), one):
        process.check()
    assert [RAISED] == hook.told()
    redis.delete(keys.PARKED)
    for process in (other, one):
        process.check()

    assert [RAISED, OVER] == hook.told()
    assert 0 == redis.exists(keys.ALERTS, keys.OUTBOX)


def test_what_comes_and_goes_is_told_once(
    redis: Redis, hook: Hook, make: Callable[..., Alerts], monkeypatch
) -> None:
    monkeypatch.setattr(subject, "GONE_MS", 60_000)
    process = make()
    for _ in range(3):
        park(redis)
        process.check()
        redis.delete(keys.PARKED)
        process.check()

    assert [RAISED] == hook.told()


def test_what_does_not_last_is_not_told(
    redis: Redis, hook: Hook, make: Callable[..., Alerts]
) -> None:
    process = make()
    redis.hset(keys.FAILING, mapping={"reason": "answered 502", "since": 1, "at": 1})
    process.check()
    redis.delete(keys.FAILING)
    process.check()

    assert [] == hook.told()


@pytest.mark.parametrize("status", [302, 404, 503])
def test_what_an_address_did_not_take_is_sent_again_in_order(
    redis: Redis, hook: Hook, make: Callable[..., Alerts], status: int, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    process, hook.status = make(), status
    park(redis)
    process.check()
    redis.delete(keys.PARKED)
    process.check()
    assert [RAISED, RAISED] == hook.told()
    hook.status, tried = 200, len(hook.log)
    make().check()  # by whoever leads now

    assert [RAISED, OVER] == hook.told()[tried:]
    assert f"'reason': '{status}'" in str([vars(one) for one in caplog.records])
    assert "hidden" not in caplog.text
    assert {"/alert"} == {asked.path for asked in hook.log}


def test_an_address_that_trickles_its_answer_holds_nobody_for_long(
    redis: Redis, make: Callable[..., Alerts], monkeypatch, caplog
) -> None:
    monkeypatch.setattr(subject, "TIMEOUT", 0.3)
    process = make()
    park(redis)
    with trickling() as url:
        process._urls = (url,)
        process.check()

    assert "'reason': 'ReadTimeoutError'" in str([vars(one) for one in caplog.records])


def test_with_redis_away_each_process_says_so_itself(
    redis: Redis, hook: Hook, make: Callable[..., Alerts]
) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    away = connect(url, verify_tls=True, timeout=0.2, most=1)
    views = [WELL, RedisHealth(0, (DOWN,)), RedisHealth(0, (DOWN,))]
    process = make(away, lambda: views.pop(0))
    while views:
        process.check()
    assert [("redis", "raised")] == hook.told()
    assert DOWN in hook.bodies()[0]["text"]
    process._redis, process._health = redis, lambda: WELL  # it is back
    process.check()

    assert [("redis", "raised"), ("redis", "over")] == hook.told()


def test_a_web_process_leads_only_while_there_is_no_worker(redis: Redis) -> None:
    assert leads_alone(redis)
    assert leads_alone(redis)
    redis.set(keys.ALERTING, "another process")
    assert not leads_alone(redis)
    redis.delete(keys.ALERTING)
    redis.zadd(keys.WORKERS, {"one": 2**50})
    assert not leads_alone(redis)


def test_a_process_that_does_not_lead_reads_no_figures(
    redis: Redis, make: Callable[..., Alerts]
) -> None:
    assert [] == round_trips(redis, make(leads=lambda: False).check)


def test_a_refused_key_of_a_source_is_seen_and_so_is_its_mending(desk) -> None:
    with LocalStripe() as stripe:
        stripe.forbidden.add("prices")
        own = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url}
        made = settings(desk.vitally.url, "redis://x", STRIPE_MODE="test", **own)
        desk.context.apis = {"stripe": connect_stripe(made.sources)}
        probes = Probes(desk.context)
        probes.run(figures(desk.redis))
        seen = figures(desk.redis).keys_refused
        stripe.forbidden.clear()
        Probes(desk.context).run(figures(desk.redis))

    assert "rak_price_read" in seen["stripe"]
    assert {} == figures(desk.redis).keys_refused


def test_an_outage_is_over_when_vitally_answers_again(desk) -> None:
    probes = Probes(desk.context)
    desk.vitally.break_with([{"kind": "status", "status": 502}])
    desk.context.outage.note("answered 502", 1)
    probes.run(figures(desk.redis))
    seen = figures(desk.redis).failing
    assert seen
    assert (1, True) == (seen.since, seen.at > 1)
    desk.context.outage.note("answered 502", 1)
    probes.run(figures(desk.redis))

    assert None is figures(desk.redis).failing


def test_a_confirmed_write_ends_an_outage(desk) -> None:
    desk.context.outage.note("answered 502", 1)
    desk.tell(customer(), subscription())
    desk.work()

    assert None is figures(desk.redis).failing
