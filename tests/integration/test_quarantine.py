"""Authentic deliveries that could not be read: kept whole, capped, replayed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from bridge.ingest import Ingress
from bridge.sources import discover
from bridge.store import keys
from bridge.store.quarantine import DAYS, MOST, Quarantine
from bridge.webhook.source import Delivery, Verified
from tests.support.desk import Bench, bench, settings
from tests.support.server import RedisServer


@pytest.fixture
def desk(redis: Redis) -> Iterator[Bench]:
    with bench(redis) as made:
        yield made


@pytest.fixture
def shelf(desk: Bench) -> Quarantine:
    return Quarantine(desk.redis)


@pytest.fixture
def ingress(desk: Bench, redis_server: RedisServer) -> Ingress:
    said = settings(desk.vitally.url, redis_server.url)
    return Ingress(said, desk.redis, discover().values())


def take_in(ingress: Ingress, body: bytes) -> str:
    delivery = Delivery("POST", "/webhooks/stripe", {}, body)
    return ingress.take_in(ingress.sources["stripe"], Verified(delivery)).receipt


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[" * 5000,
        b"\xff\xfe\x00",
        b"{}",
        b"null",
        b'{"id": "evt_1", "object": "event", "type": "customer.created"}',
        (
            b'{"id": "evt_1", "object": "event", "type": "customer.created", '
            b'"created": 1, "livemode": true, "data": {"object": {"id": 7}}}'
        ),
        b"",
    ],
)
def test_a_body_that_is_no_event_is_kept_whole(
    ingress: Ingress, shelf: Quarantine, desk: Bench, body: bytes
) -> None:
    assert "quarantined" == take_in(ingress, body)

    (kept,) = shelf.all()
    assert ("stripe", body) == (kept.source, kept.body)
    assert kept.reason
    assert kept == shelf.get(kept.id)
    assert (1, 1) == (desk.check().received, desk.check().quarantined)


def test_a_repeat_is_counted_again_and_kept_once(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    for _ in range(3):
        take_in(ingress, b"no json")

    assert 1 == len(list(shelf.all()))
    assert (3, 3) == (desk.check().received, desk.check().quarantined)


def test_the_oldest_go_where_there_are_too_many(shelf: Quarantine, desk: Bench) -> None:
    for n in range(MOST + 5):
        shelf.put(f"id{n:05}", "stripe", "", "no", b"body")

    assert MOST == desk.redis.hlen(keys.QUARANTINE)
    assert MOST == desk.redis.zcard(keys.QUARANTINED)
    assert shelf.get("id00004") is None
    assert shelf.get("id00005") is not None


def test_what_is_too_old_goes_with_the_next(shelf: Quarantine, desk: Bench) -> None:
    shelf.put("old", "stripe", "", "no", b"body")
    desk.redis.zincrby(keys.QUARANTINED, -(DAYS * 86_400_000 + 1), "old")
    shelf.put("new", "stripe", "", "no", b"body")

    assert ["new"] == [one.id for one in shelf.all()]
    assert shelf.get("old") is None


def test_what_was_dropped_is_gone(shelf: Quarantine, desk: Bench) -> None:
    shelf.put("one", "stripe", "evt_1", "no", b"body")
    shelf.drop("one")
    shelf.drop("one")

    assert [] == list(shelf.all())
    assert 0 == desk.redis.exists(keys.QUARANTINE, keys.QUARANTINED)


def test_the_journal_never_holds_a_body(ingress: Ingress, desk: Bench) -> None:
    take_in(ingress, b'{"secret": "somebody@example.com"')

    (line,) = desk.redis.xrange(keys.JOURNAL)
    assert b"somebody" not in b" ".join(line[1].values())
