"""Authentic deliveries that could not be read: kept whole, capped, replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from bridge.alerts import Message
from bridge.ingest import Ingress, Receipt
from bridge.sources import OBSERVED, discover
from bridge.sources.generic import make
from bridge.store import audit, keys, samples
from bridge.store.complete import Checkpoint, checkpoints
from bridge.store.connect import milliseconds, read
from bridge.store.index import Index
from bridge.store.quarantine import (
    MOST,
    MOST_BYTES,
    MOST_RUNS,
    Kept,
    Quarantine,
    runs,
)
from bridge.webhook.source import Delivery, Verified
from tests.support.desk import Bench, settings
from tests.support.desk import customer as desk_customer
from tests.support.desk import subscription as desk_subscription


@pytest.fixture
def shelf(desk: Bench) -> Quarantine:
    return Quarantine(desk.redis)


def received(ingress: Ingress, name: str, body: bytes) -> Receipt:
    delivery = Delivery("POST", f"/webhooks/{name}", {}, body)
    return ingress.take_in(ingress.sources[name], Verified(delivery))


def replayed(ingress: Ingress, kept: Kept) -> Receipt:
    return ingress.replay(ingress.sources[kept.source], kept)


def kept(id_: str, **more: Any) -> Kept:
    return Kept(id_, 0, "stripe", "evt_1", "no", b"body")._replace(**more)


def counted(desk: Bench) -> dict[str, int]:
    """The counting, which adds up; the events in the quarantine are those on the shelf."""
    figures = desk.check()
    events = sum(int(n) for n in desk.redis.hvals(keys.QUARANTINED_EVENTS))
    size = sum(len(row) for row in desk.redis.hvals(keys.QUARANTINE))
    assert (events, size) == (figures.quarantined, figures.quarantine_bytes)
    assert desk.redis.hlen(keys.QUARANTINE) == figures.quarantine_deliveries
    words = ("received", "accepted", "duplicate", "ignored", "quarantined")
    return {word: n for word in words if (n := getattr(figures, word))}


def company(number: int, **more: Any) -> dict[str, Any]:
    """An event of HubSpot: a company is new."""
    event = {"eventId": number, "subscriptionId": 55, "portalId": 99}
    event |= {"objectId": number, "occurredAt": 1_795_824_000_000}
    return event | {"subscriptionType": "company.creation"} | more


def batch(*events: Any) -> bytes:
    return json.dumps(events).encode()


ODD_EVENT = {"id": "evt_1", "object": "event", "type": "customer.created"}
ODD_ID = ODD_EVENT | {"created": 1, "livemode": True, "data": {"object": {"id": 7}}}


# --- What is kept ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        *(b"no json", b"[" * 5000, b"\xff\xfe\x00", b"{}", b"null", b""),
        *(json.dumps(event).encode() for event in (ODD_EVENT, ODD_ID)),
    ],
)
def test_a_body_that_is_no_event_is_kept_whole_and_once(
    ingress: Ingress, shelf: Quarantine, desk: Bench, body: bytes
) -> None:
    for n in (1, 2, 3):
        assert "quarantined" == received(ingress, "stripe", body).receipt

        (one,) = shelf.all()
        assert ("stripe", body) == (one.source, one.body)
        assert one.reason
        assert one == shelf.get(one.id)
        assert {"received": n, "quarantined": n} == counted(desk)


def test_one_bad_event_of_a_batch_does_not_stop_its_siblings(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    body = batch(company(8), {"foo": 1}, company(9, occurredAt="soon"), company(10))
    receipt = received(ingress, "hubspot", body)

    assert "quarantined" == receipt.receipt
    assert {"queued": 2, "quarantined": 2} == receipt.counts
    (one,) = shelf.all()
    assert ([[1, 2]], 4, body) == (one.parts, one.of, one.body)
    assert {"hubspot:8", "hubspot:10"} == {s.party for s in desk.look.every_standing()}
    assert {"received": 4, "accepted": 2, "quarantined": 2} == counted(desk)


def test_a_delivery_of_many_bad_events_is_kept_once(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    body = batch(*({"foo": "x" * 480} for _ in range(2001)))

    assert {"quarantined": 2001} == received(ingress, "hubspot", body).counts
    assert [body] == [one.body for one in shelf.all()]
    assert {"received": 2001, "quarantined": 2001} == counted(desk)
    assert desk.check().quarantine_bytes < 2 * len(body)


def test_a_delivery_of_many_ignored_events_is_one_trip(
    ingress: Ingress, desk: Bench
) -> None:
    body = batch(*(company(n, subscriptionType="x.creation") for n in range(3000)))
    desk.redis.config_resetstat()

    assert {"ignored": 3000} == received(ingress, "hubspot", body).counts
    # A script that Redis has not seen yet is called once more.
    assert desk.redis.info("commandstats")["cmdstat_evalsha"]["calls"] <= 2
    assert {"received": 3000, "ignored": 3000} == counted(desk)
    assert 3000 == len(desk.redis.xrange(keys.JOURNAL))


def test_the_journal_never_holds_a_body(ingress: Ingress, desk: Bench) -> None:
    received(ingress, "stripe", b'{"secret": "somebody@example.com"')

    ((_, line),) = desk.redis.xrange(keys.JOURNAL)
    assert b"somebody" not in b" ".join(line.values())


@pytest.mark.parametrize("name", [*discover(), "shop"])
def test_whatever_an_observed_source_sends_is_kept_unread(
    desk: Bench, shelf: Quarantine, name: str
) -> None:
    chosen = settings(desk.vitally.url, "redis://127.0.0.1:1/0")
    # Made of another, as whatever a table makes: it says what it is called alone.
    shop = replace(discover()["stripe"], name="shop")
    sources = [replace(s, enabled=lambda _: True) for s in discover().values()]
    sources.append(replace(shop, enabled=lambda _: True))
    chosen = replace(chosen, sources=chosen.sources | {OBSERVED: {name}})
    observing = Ingress(chosen, desk.redis, sources)

    receipt = received(observing, name, batch(company(8), company(9)))

    assert ("quarantined", "observed") == (receipt.receipt, receipt.reason)
    assert [(name, "observed")] == [(one.source, one.reason) for one in shelf.all()]
    assert {"received": 1, "quarantined": 1} == counted(desk)
    other = "stripe" if name != "stripe" else "shop"
    assert "observed" != received(observing, other, b"no json").reason


# --- Replays --------------------------------------------------------------------------


def test_the_headers_that_an_event_is_read_from_are_kept_with_it(
    desk: Bench, shelf: Quarantine
) -> None:
    told = {"id": {"header": "X-Id"}, "type": {"header": ["X-Topic", "X-Old-Topic"]}}
    table = {"verify": "basic", "secret_env": "SHOP_LOGIN", "at": "at", "party": "who"}
    source = make("shop", {**table, **told, "traits": {"tier": "tier"}}, {}).source
    assert source is not None
    chosen = settings(desk.vitally.url, "redis://127.0.0.1:1/0")
    observed = replace(chosen, sources=chosen.sources | {OBSERVED: {"shop"}})
    body = orjson.dumps({"at": "2026-03-01", "who": "acme", "tier": "gold"})
    sent = {"x-old-topic": "customer.changed", "x-id": "evt_7", "x-key": "a-secret"}
    delivery = Verified(Delivery("POST", "/webhooks/shop", sent, body))
    Ingress(observed, desk.redis, []).take_in(source, delivery)
    (one,) = shelf.all()
    receipt = Ingress(chosen, desk.redis, []).replay(source, one)

    assert {"x-old-topic": "customer.changed", "x-id": "evt_7"} == one.headers
    assert ("queued", "evt_7") == (receipt.receipt, receipt.event)


def first_alone(events: Any) -> Iterator[Any]:
    """What an older version reads: of several the first alone."""
    first, *others = events
    yield first
    for one in others:
        yield one._replace(refusal="not yet")


@pytest.fixture
def older(ingress: Ingress) -> Ingress:
    """The way in, of a version that reads only the first event of a delivery."""
    hubspot = ingress.sources["hubspot"]
    old = replace(hubspot, split=lambda d: first_alone(hubspot.split(d)))
    ingress.sources["hubspot"] = old
    return ingress


def upgraded(ingress: Ingress) -> Ingress:
    ingress.sources["hubspot"] = discover()["hubspot"]
    return ingress


def test_a_replay_moves_what_it_reads_and_counts_nothing_twice(
    older: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    body = batch(company(8), company(9), company(10, subscriptionType="a.b"))
    for _ in range(2):
        received(older, "hubspot", body)
    (one,) = shelf.all()
    before = {"received": 6, "accepted": 1, "duplicate": 1, "quarantined": 4}
    assert before == counted(desk)
    assert "quarantined" == replayed(older, one).receipt
    assert (before, [one]) == (counted(desk), list(shelf.all()))

    # Whatever was known of its good sibling is forgotten: it is not taken in again.
    desk.redis.delete(keys.RECENT, keys.facts("hubspot:8"))
    assert {"queued": 1, "ignored": 1} == replayed(upgraded(older), one).counts
    after = {"received": 6, "accepted": 2, "duplicate": 3, "ignored": 1}
    assert (after, []) == (counted(desk), list(shelf.all()))


def test_a_replay_of_a_part_keeps_the_rest(
    older: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    received(older, "hubspot", batch(company(8), company(9), {"foo": 1}))
    (one,) = shelf.all()

    assert {"queued": 1, "quarantined": 1} == replayed(upgraded(older), one).counts
    (left,) = shelf.all()
    assert ([[2, 2]], 3) == (left.parts, left.of)
    assert "not an event" in left.reason
    assert {"received": 3, "accepted": 2, "quarantined": 1} == counted(desk)


@pytest.mark.parametrize("reason", ["observed", "no JSON"])
def test_what_was_kept_as_one_may_turn_out_to_hold_several(
    ingress: Ingress, shelf: Quarantine, desk: Bench, reason: str
) -> None:
    body = batch(company(8), company(9))
    shelf.put(kept("x", source="hubspot", event="", reason=reason, body=body))
    (one,) = shelf.all()

    assert {"queued": 2} == replayed(ingress, one).counts
    assert {"received": 2, "accepted": 2} == counted(desk)
    assert [] == list(shelf.all())


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


# --- Bounds ---------------------------------------------------------------------------


def test_runs_are_few_or_none() -> None:
    assert [[0, 0], [2, 4]] == runs([0, 2, 3, 4], 6)
    assert None is runs([0, 1], 2)
    assert None is runs(range(0, 4 * MOST_RUNS, 2), 4 * MOST_RUNS)


def test_the_oldest_go_where_they_take_too_much_room(
    ingress: Ingress, shelf: Quarantine, desk: Bench
) -> None:
    size = 1024 * 1024 - 10
    for n in range(20):
        received(ingress, "stripe", f"{n:03}".encode() * (size // 3))

    figures = desk.check()
    assert figures.quarantine_bytes <= MOST_BYTES
    assert MOST_BYTES // (size * 4 // 3 + 200) == figures.quarantine_deliveries
    gone = 20 - figures.quarantine_deliveries
    assert gone == figures.quarantine_dropped
    expected = {"received": 20, "ignored": gone, "quarantined": 20 - gone}
    assert expected == counted(desk)
    assert b"019" == list(shelf.all())[-1].body[:3]


def test_the_quarantine_takes_a_small_part_of_a_small_redis(
    ingress: Ingress, desk: Bench
) -> None:
    desk.redis.config_set("maxmemory", 100_000_000)
    try:
        for n in range(20):
            received(ingress, "stripe", f"{n:03}".encode() * 300_000)
        assert 4_000_000 < desk.check().quarantine_bytes <= 5_000_000
        desk.redis.config_set("maxmemory", 20_000_000)
        receipt = received(ingress, "stripe", b"a" * 900_000).receipt
    finally:
        desk.redis.config_set("maxmemory", 0)

    # What would not fit alone is counted, and takes no other's place.
    assert ("quarantined", 21) == (receipt, desk.check().received)
    assert 4_000_000 < desk.check().quarantine_bytes
    counted(desk)


def test_the_oldest_go_where_there_are_too_many(shelf: Quarantine, desk: Bench) -> None:
    for n in range(MOST + 5):
        shelf.put(kept(f"id{n:05}"))

    assert (
        MOST == desk.redis.hlen(keys.QUARANTINE) == desk.redis.zcard(keys.QUARANTINED)
    )
    assert shelf.get("id00004") is None
    assert shelf.get("id00005") is not None


def test_what_is_too_old_goes_with_the_sweeper(
    shelf: Quarantine, desk: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of Redis, whatever a worker's says, and whatever a row holds."""
    monkeypatch.setattr("time.time_ns", lambda: 0)
    day, now = 86_400_000, milliseconds(desk.redis)
    desk.set(bridge_retention_quarantine_days=3, bridge_retention_journal_days=2)
    for name in ("old", "new"):
        shelf.put(kept(name))
    desk.redis.zincrby(keys.QUARANTINED, -3 * day, "old")
    for days in (1, 2, 3):
        deed = audit.record(desk.redis, "ada", "retry", f"{days} days ago")
        line = orjson.dumps([*deed._replace(at=now - days * day + 60_000), "later's"])
        desk.redis.lset(keys.AUDIT, 0, line)
    desk.redis.rpush(keys.AUDIT, b"no JSON", b"7", b'["a", "b", "c", "d", "e"]', b"{}")
    desk.redis.delete(keys.JOURNAL)
    for days in (3, 1):
        desk.redis.xadd(keys.JOURNAL, {"s": days}, id=now - days * day)

    desk.sweeper.take_samples()

    assert ["new"] == [one.id for one in shelf.all()]
    assert {"received": 2, "quarantined": 1, "ignored": 1} == counted(desk)
    assert ["2 days ago", "1 days ago"] == [
        one.text for one in audit.latest(desk.redis)
    ]
    assert 2 == desk.redis.llen(keys.AUDIT)
    assert [b"1"] == [line[b"s"] for _, line in desk.redis.xrange(keys.JOURNAL)]


def test_what_a_later_version_has_added_to_a_row_is_left(desk: Bench) -> None:
    """After a downgrade, or beside a worker that is newer."""
    desk.rests(desk_customer(), desk_subscription(at=1))
    shelf, place = Quarantine(desk.redis), Checkpoint(1, 2)
    shelf.put(kept("one"))
    desk.redis.hset(keys.COMPLETE, "stripe", orjson.dumps(place._asdict()))
    samples.mark(desk.redis, "pause")
    samples.take(desk.redis)
    row = Message("parked", "raised", "1 is parked", 1, 1, 9)
    desk.redis.lpush(keys.OUTBOX, orjson.dumps(row._asdict()))
    read_ = [
        lambda: [*shelf.all()],
        lambda: checkpoints(desk.redis.hgetall(keys.COMPLETE)),
        lambda: (samples.marks(desk.redis), samples.samples(desk.redis)),
        lambda: [read(Message, line) for line in desk.redis.lrange(keys.OUTBOX, 0, -1)],
        lambda: [*Index(desk.redis).stream()],
        lambda: desk.leases.members(["stripe:cus_1"]),
        lambda: desk.look.record("acme", []),
    ]
    before = [one() for one in read_]
    for key in (keys.QUARANTINE, keys.COMPLETE, keys.INDEX, keys.facts("stripe:cus_1")):
        for name, line in desk.redis.hgetall(key).items():
            desk.redis.hset(key, name, grown(line))
    for key in (keys.MARKS, keys.SAMPLES, keys.OUTBOX):
        desk.redis.lset(key, 0, grown(desk.redis.lindex(key, 0)))
    for name, line in desk.redis.hgetall(keys.account("acme")).items():
        if name in {b"ledger", b"seen"}:
            desk.redis.hset(keys.account("acme"), name, grown(line))

    assert before == [one() for one in read_]


def grown(line: bytes) -> bytes:
    row = orjson.loads(line)
    return orjson.dumps(
        row | {"later": 1} if isinstance(row, dict) else [*row, "later"]
    )


def test_what_was_dropped_is_gone(shelf: Quarantine, desk: Bench) -> None:
    shelf.put(kept("one"), events=2)
    for _ in range(2):
        shelf.drop("one")

    assert [] == list(shelf.all())
    assert {"received": 2, "ignored": 2} == counted(desk)
    assert 1 == desk.check().quarantine_dropped
    assert 0 == desk.redis.exists(keys.QUARANTINE, keys.QUARANTINED)
