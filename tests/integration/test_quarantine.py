"""Authentic deliveries that could not be read: kept whole, capped, replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bridge.ingest import Ingress, Receipt
from bridge.sources import OBSERVED, discover
from bridge.store import keys
from bridge.store.quarantine import (
    DAYS,
    MOST,
    MOST_BYTES,
    MOST_RUNS,
    Kept,
    Quarantine,
    runs,
)
from bridge.webhook.source import Delivery, Verified
from tests.support.desk import Bench, settings
from tests.support.server import RedisServer


@pytest.fixture
def shelf(desk: Bench) -> Quarantine:
    return Quarantine(desk.redis)


@pytest.fixture
def ingress(desk: Bench, redis_server: RedisServer) -> Ingress:
    secret = "example-client-secret"
    said = settings(desk.vitally.url, redis_server.url, HUBSPOT_CLIENT_SECRET=secret)
    return Ingress(said, desk.redis, discover().values())


def take_in(ingress: Ingress, body: bytes) -> str:
    return received(ingress, "stripe", body).receipt


def received(ingress: Ingress, name: str, body: bytes) -> Receipt:
    delivery = Delivery("POST", f"/webhooks/{name}", {}, body)
    return ingress.take_in(ingress.sources[name], Verified(delivery))


def replayed(ingress: Ingress, kept: Kept) -> Receipt:
    return ingress.replay(ingress.sources[kept.source], kept)


def kept(id_: str, body: bytes = b"body") -> Kept:
    return Kept(id_, 0, "stripe", "evt_1", "no", body)


def counted(desk: Bench) -> dict[str, int]:
    """The counting, which adds up; the events in the quarantine are those on the shelf."""
    now = desk.check()
    shelf = sum(int(n) for n in desk.redis.hvals(keys.QUARANTINED_EVENTS))
    size = sum(len(row) for row in desk.redis.hvals(keys.QUARANTINE))
    assert (shelf, size) == (now.quarantined, now.quarantine_bytes)
    assert desk.redis.hlen(keys.QUARANTINE) == now.quarantine_deliveries
    words = ("received", "accepted", "duplicate", "ignored", "quarantined")
    found = {word: getattr(now, word) for word in words}
    return {word: n for word, n in found.items() if n}


def company(number: int, **more: Any) -> dict[str, Any]:
    """An event of HubSpot: a company is new."""
    told = {"eventId": number, "subscriptionId": 55, "portalId": 99, "objectId": number}
    at = {"occurredAt": 1_795_824_000_000, "subscriptionType": "company.creation"}
    return told | at | more


def batch(*events: Any) -> bytes:
    return json.dumps(events).encode()


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

    (one,) = shelf.all()
    assert ("stripe", body) == (one.source, one.body)
    assert one.reason
    assert one == shelf.get(one.id)
    assert (1, 1) == (desk.check().received, desk.check().quarantined)


def test_a_repeat_is_counted_again_and_kept_once(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    for _ in range(3):
        take_in(ingress, b"no json")

    assert 1 == len(list(shelf.all()))
    assert {"received": 3, "quarantined": 3} == counted(desk)


def test_one_bad_event_of_a_batch_does_not_stop_its_siblings(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    body = batch(company(8), {"foo": 1}, company(9, occurredAt="soon"), company(10))

    told = received(ingress, "hubspot", body)

    assert ("quarantined", {"queued": 2, "quarantined": 2}) == (told[0], told[3])
    (one,) = shelf.all()
    assert ([[1, 2]], 4, body) == (one.parts, one.of, one.body)
    assert {"hubspot:8", "hubspot:10"} == {s.party for s in desk.look.every_standing()}
    assert {"received": 4, "accepted": 2, "quarantined": 2} == counted(desk)


def test_a_delivery_of_many_bad_events_is_kept_once(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    body = batch(*({"foo": "x" * 480} for _ in range(2001)))

    told = received(ingress, "hubspot", body)

    assert {"quarantined": 2001} == told.counts
    assert [body] == [one.body for one in shelf.all()]
    assert {"received": 2001, "quarantined": 2001} == counted(desk)
    assert desk.check().quarantine_bytes < 2 * len(body)


def test_a_delivery_of_many_ignored_events_is_one_trip(
    ingress: Ingress, desk: Bench
) -> None:
    told = [company(n, subscriptionType="contact.creation") for n in range(3000)]
    desk.redis.config_resetstat()

    assert {"ignored": 3000} == received(ingress, "hubspot", batch(*told)).counts

    # A script that Redis has not seen yet is called once more.
    assert desk.redis.info("commandstats")["cmdstat_evalsha"]["calls"] <= 2
    assert {"received": 3000, "ignored": 3000} == counted(desk)
    assert 3000 == len(desk.redis.xrange(keys.JOURNAL))


def test_a_replay_moves_what_it_reads_and_counts_nothing_twice(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    """The first version reads no companies; the second does."""
    hubspot = ingress.sources["hubspot"]
    ingress.sources["hubspot"] = replace(hubspot, split=lambda d: bad(hubspot.split(d)))
    body = batch(company(8), company(9), company(10, subscriptionType="a.b"))
    for _ in range(2):
        received(ingress, "hubspot", body)
    (one,) = shelf.all()
    before = {"received": 6, "accepted": 1, "duplicate": 1, "quarantined": 4}
    assert before == counted(desk)

    assert "quarantined" == replayed(ingress, one).receipt
    assert before == counted(desk)
    assert [one] == list(shelf.all())

    ingress.sources["hubspot"] = hubspot
    # Whatever was known of its good sibling is forgotten: it is not taken in again.
    desk.redis.delete(keys.RECENT, keys.facts("hubspot:8"))
    assert {"queued": 1, "ignored": 1} == replayed(ingress, one).counts

    after = {"received": 6, "accepted": 2, "duplicate": 3, "ignored": 1}
    assert after == counted(desk)
    assert [] == list(shelf.all())


@pytest.mark.parametrize("name", [*discover(), "shop"])
def test_whatever_an_observed_source_sends_is_kept_unread(
    desk: Bench, shelf: Quarantine, redis_server: RedisServer, name: str
) -> None:
    said = settings(desk.vitally.url, redis_server.url)
    options = said.sources | {OBSERVED: {name}}
    # Made of another, as whatever a table makes: it says what it is called alone.
    shop = replace(discover()["stripe"], name="shop")
    every = [
        replace(source, enabled=lambda _: True)
        for source in (*discover().values(), shop)
    ]
    observing = Ingress(replace(said, sources=options), desk.redis, every)
    other = "stripe" if name != "stripe" else "shop"

    told = received(observing, name, batch(company(8), company(9)))

    assert ("quarantined", "observed") == (told.receipt, told.reason)
    assert [(name, "observed")] == [(one.source, one.reason) for one in shelf.all()]
    assert {"received": 1, "quarantined": 1} == counted(desk)
    assert "observed" != received(observing, other, b"no json").reason


def test_a_replay_reads_what_was_only_observed(
    ingress: Ingress, shelf: Quarantine, desk: Bench, redis_server: RedisServer
) -> None:
    said = settings(desk.vitally.url, redis_server.url)
    options = ingress.options | {OBSERVED: {"hubspot"}}
    observing = Ingress(
        replace(said, sources=options), desk.redis, ingress.sources.values()
    )
    received(observing, "hubspot", batch(company(8), company(9)))
    (one,) = shelf.all()

    assert {"queued": 2} == replayed(observing, one).counts

    assert {"received": 2, "accepted": 2} == counted(desk)
    assert [] == list(shelf.all())


def bad(events: Any) -> Iterator[Any]:
    first, *others = events
    yield first
    for one in others:
        yield one._replace(refusal="not yet")


def test_a_replay_of_a_part_keeps_the_rest(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    hubspot = ingress.sources["hubspot"]
    ingress.sources["hubspot"] = replace(hubspot, split=lambda d: bad(hubspot.split(d)))
    received(ingress, "hubspot", batch(company(8), company(9), {"foo": 1}))
    ingress.sources["hubspot"] = hubspot
    (one,) = shelf.all()

    assert {"queued": 1, "quarantined": 1} == replayed(ingress, one).counts

    (left,) = shelf.all()
    assert ([[2, 2]], 3) == (left.parts, left.of)
    assert "no event" in left.reason
    assert {"received": 3, "accepted": 2, "quarantined": 1} == counted(desk)


def test_a_body_that_was_none_may_turn_out_to_hold_several(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    shelf.put(kept("x")._replace(source="hubspot", body=batch(company(8), company(9))))
    (one,) = shelf.all()

    assert {"queued": 2} == replayed(ingress, one).counts
    assert {"received": 2, "accepted": 2} == counted(desk)


def test_runs_are_few_or_none() -> None:
    assert [[0, 0], [2, 4]] == runs([0, 2, 3, 4], 6)
    assert None is runs([0, 1], 2)
    assert None is runs(range(0, 4 * MOST_RUNS, 2), 4 * MOST_RUNS)


def test_the_oldest_go_where_they_take_too_much_room(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    size = 1024 * 1024 - 10
    for n in range(20):
        take_in(ingress, f"{n:03}".encode() * (size // 3))

    now = desk.check()
    assert now.quarantine_bytes <= MOST_BYTES
    assert MOST_BYTES // (size * 4 // 3 + 200) == now.quarantine_deliveries
    gone = 20 - now.quarantine_deliveries
    assert gone == now.quarantine_dropped
    told = {"received": 20, "ignored": gone, "quarantined": 20 - gone}
    assert told == counted(desk)
    assert b"019" == list(shelf.all())[-1].body[:3]


def test_the_quarantine_takes_a_small_part_of_a_small_redis(
    ingress: Ingress, desk: Bench
) -> None:
    desk.redis.config_set("maxmemory", 100_000_000)
    try:
        for n in range(20):
            take_in(ingress, f"{n:03}".encode() * 300_000)
        assert 4_000_000 < desk.check().quarantine_bytes <= 5_000_000
        desk.redis.config_set("maxmemory", 20_000_000)
        taken = take_in(ingress, b"a" * 900_000)
    finally:
        desk.redis.config_set("maxmemory", 0)

    # What would not fit alone is counted, and takes no other's place.
    assert ("quarantined", 21) == (taken, desk.check().received)
    assert 4_000_000 < desk.check().quarantine_bytes
    counted(desk)


def test_the_counting_of_0_1_is_put_right_with_the_next_delivery(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    """It counted whatever ever came, here 5, and kept one of it."""
    row = {"source": "stripe", "event": "", "reason": "no", "body": "bm8ganNvbg=="}
    desk.redis.hset(keys.QUARANTINE, "old", json.dumps(row))
    desk.redis.zadd(keys.QUARANTINED, {"old": 1_795_824_000_000})
    desk.redis.hset(keys.COUNTERS, mapping={"received": 5, "quarantined": 5})
    (one,) = shelf.all()
    assert (b"no json", None) == (one.body, one.parts)

    assert "quarantined" == replayed(ingress, one).receipt
    assert {"received": 5, "ignored": 4, "quarantined": 1} == counted(desk)
    shelf.drop("old")
    assert {"received": 5, "ignored": 5} == counted(desk)


def test_the_oldest_go_where_there_are_too_many(shelf: Quarantine, desk: Bench) -> None:
    for n in range(MOST + 5):
        shelf.put(kept(f"id{n:05}"))

    assert MOST == desk.redis.hlen(keys.QUARANTINE)
    assert MOST == desk.redis.zcard(keys.QUARANTINED)
    assert shelf.get("id00004") is None
    assert shelf.get("id00005") is not None


def test_what_is_too_old_goes_with_the_next(shelf: Quarantine, desk: Bench) -> None:
    shelf.put(kept("old"))
    desk.redis.zincrby(keys.QUARANTINED, -(DAYS * 86_400_000 + 1), "old")
    shelf.put(kept("new"))

    assert ["new"] == [one.id for one in shelf.all()]
    assert shelf.get("old") is None


def test_what_was_dropped_is_gone(shelf: Quarantine, desk: Bench) -> None:
    shelf.put(kept("one"), events=2)
    shelf.drop("one")
    shelf.drop("one")

    assert [] == list(shelf.all())
    assert {"received": 2, "ignored": 2} == counted(desk)
    assert 1 == desk.check().quarantine_dropped
    assert 0 == desk.redis.exists(keys.QUARANTINE, keys.QUARANTINED)


def test_the_journal_never_holds_a_body(ingress: Ingress, desk: Bench) -> None:
    take_in(ingress, b'{"secret": "somebody@example.com"')

    (line,) = desk.redis.xrange(keys.JOURNAL)
    assert b"somebody" not in b" ".join(line[1].values())
