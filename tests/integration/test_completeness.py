"""The worker compares a source with its own list: a local Stripe, a real Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest
from redis import Redis
from redis.exceptions import RedisError

from bridge.completeness import SEEN, Comparison, comparisons
from bridge.domain.facts import Fact
from bridge.domain.values import REFRESHED
from bridge.errors import SourceError, SourceUnreadError
from bridge.ingest import Ingress
from bridge.lamps import complete, lamps
from bridge.sources import OBSERVED, discover
from bridge.store import keys
from bridge.store.complete import EVERY_MS, Checkpoint, Completeness
from bridge.store.connect import milliseconds
from bridge.store.health import RedisHealth
from bridge.store.inspect import figures
from bridge.webhook.source import Archive, Delivery, Page, SourceChange, Verified
from tests.support.desk import Bench, settings, subscription
from tests.support.desk import customer as customer_fact
from tests.support.local_stripe import KEY, LocalStripe, customer, event
from tests.support.server import RedisServer
from workers.complete import LAST_REST, Completing

MINUTE = 60


def refreshed(*, at: int) -> Fact:
    """That a customer was read whole."""
    return subscription(at=at)._replace(thing=REFRESHED, value={})


def covered(name: str) -> Fact:
    """That a customer was read whole a moment ago."""
    at = int(time.time()) - 1_767_225_600
    return subscription(name, at=at)._replace(thing=REFRESHED, value={})


def void(*, at: int) -> Fact:
    """A deal that was never a subscription."""
    return subscription(sub="sub_2", at=at)._replace(value={"status": "void"})


@pytest.fixture
def check(desk: Bench, stripe: LocalStripe, redis_server: RedisServer) -> Completing:
    """The check of the worker that sweeps; an hour is complete already."""
    own = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url, "STRIPE_MODE": "test"}
    desk.context.settings = settings(desk.vitally.url, redis_server.url, **own)
    desk.redis.set(keys.SWEEPER, "one")
    place(desk.redis, checked=milliseconds(desk.redis) - EVERY_MS)
    return Completing(desk.context, "one")


def place(redis: Redis, **more: Any) -> Checkpoint:
    """Store how far Stripe is complete; without *more*, return what is stored."""
    store = Completeness(redis)
    known, run = store.read()
    if not more:
        return known["stripe"]
    hour_ago = milliseconds(redis) - 60 * MINUTE * 1000
    now = Checkpoint(0, hour_ago, run=run, checked=1)._replace(**more)
    assert store.put("stripe", now)
    return now


def to_the_end(check: Completing) -> None:
    while check.tick():
        pass


@pytest.fixture
def happens(stripe: LocalStripe, check: Completing) -> Callable[..., list[Any]]:
    """Events of so many customers that Stripe lists; *comes*: they came by webhook."""
    context = check.context
    ingress = Ingress(context.settings, context.redis, [check.comparisons[0].source])

    def happens(count: int, *, ago: float = 10 * MINUTE, comes: bool) -> list[Any]:
        first = len(stripe.listed("events"))
        events = [
            event(f"evt_{n}", time.time() - ago, customer(f"cus_{n}"))
            for n in range(first, first + count)
        ]
        stripe.put(*events)
        for one in events if comes else ():
            delivery = Delivery("POST", "", {}, orjson.dumps(one))
            ingress.take_in(ingress.sources["stripe"], Verified(delivery))
        return events

    return happens


def test_what_never_came_is_taken_in_page_by_page_and_is_news(
    desk: Bench, check: Completing, happens: Any
) -> None:
    happens(130, comes=True)
    happens(30, comes=False)
    before = figures(desk.redis)
    to_the_end(check)
    now, done = figures(desk.redis), place(desk.redis)

    assert (30, 0) == (now.accepted - before.accepted, now.duplicate)
    assert (30, 30, "") == (done.missing, done.total, done.reason)
    assert 100_000 < milliseconds(desk.redis) - done.up_to < 140_000
    lit = {
        one.kind: one.text
        for one in lamps(now, RedisHealth(0, ()), check.context.settings)
    }
    assert "stripe 30 (customer.updated), the last at" in lit["gap"]
    said = complete(now, check.context.settings)
    assert said["Stripe"].startswith("complete up to ")
    assert "; 30 were missing at " in said["Stripe"]
    # The next comparison finds nothing, though it reaches back over the same events.
    place(desk.redis, run=done.run)
    to_the_end(check)
    assert now.received == figures(desk.redis).received


def test_what_may_still_be_on_its_way_is_not_missing(
    desk: Bench, check: Completing, happens: Any
) -> None:
    happens(3, ago=30, comes=False)
    to_the_end(check)

    assert 0 == place(desk.redis).missing


def test_a_redis_that_was_started_anew_is_compared_at_once_and_up_to_now(
    desk: Bench, check: Completing, happens: Any
) -> None:
    to_the_end(check)
    happens(3, ago=5, comes=False)
    assert not check.tick()
    before = place(desk.redis)._replace(run="before")
    desk.redis.hset(keys.COMPLETE, "stripe", orjson.dumps(before._asdict()))
    to_the_end(check)

    assert 3 == place(desk.redis).missing
    assert milliseconds(desk.redis) - place(desk.redis).up_to < MINUTE * 1000


def test_another_worker_goes_on_where_one_was_killed(
    desk: Bench, check: Completing, stripe: LocalStripe, happens: Any
) -> None:
    happens(250, comes=False)
    check.tick()
    half, asked = place(desk.redis), len(stripe.log)
    other = Completing(desk.context, "two")
    assert not other.tick()  # it does not sweep
    desk.redis.set(keys.SWEEPER, "two")
    to_the_end(other)

    assert 100 == half.missing
    assert 250 == place(desk.redis).total
    assert len(stripe.log) - asked < 4 + asked


def test_a_list_that_cannot_be_read_is_said_and_read_later(
    desk: Bench, check: Completing, stripe: LocalStripe, happens: Any
) -> None:
    happens(3, comes=False)
    stripe.fail("500", where="events")
    check.tick()
    seen = figures(desk.redis)
    lit = {
        one.kind: one.text
        for one in lamps(seen, RedisHealth(0, ()), check.context.settings)
    }

    assert "Stripe only up to" in lit["completeness"]
    assert "(Stripe's API" in lit["completeness"]
    assert not check.tick()
    check.rests.clear()
    to_the_end(check)
    assert (3, "") == (place(desk.redis).missing, place(desk.redis).reason)


def test_a_source_that_asks_for_years_is_read_again_in_minutes(
    desk: Bench, check: Completing
) -> None:
    check._rest("stripe", place(desk.redis), SourceError("429", 10.0**9))

    assert LAST_REST == check.rests["stripe"][1]


def test_a_place_is_not_stored_in_another_run_of_redis(desk: Bench) -> None:
    store = Completeness(desk.redis)

    assert not store.put("stripe", Checkpoint(0, 5, run="another"))
    assert {} == store.read()[0]


def test_without_a_key_it_is_said_that_nothing_is_compared(desk: Bench) -> None:
    said = complete(figures(desk.redis), desk.context.settings)

    assert {
        "Stripe": "not compared with its own list: STRIPE_API_KEY is not set"
    } == said
    assert [] == Completing(desk.context, "one").comparisons


class States:
    """A source that lists one party as it is now."""

    def __init__(self, *facts: Fact, born: int = 0) -> None:
        self.rows = [SourceChange(5, facts=facts, born=born)]

    def changes(self, since: int, until: int, after: str) -> Page:
        return Page(self.rows, "")


def test_a_list_that_gives_the_same_place_again_is_not_read_for_ever(desk: Bench):
    source, archive = discover()["stripe"], States()
    archive.changes = lambda *_: Page((), "20")  # type: ignore[method-assign]
    compared = Comparison(
        desk.context.settings, desk.redis, source, cast("Archive", archive)
    )

    _, place = compared.page((1, 9), "", 1)
    with pytest.raises(SourceUnreadError, match="does not go on"):
        compared.page((1, 9), place, 1)


WHOLE = customer_fact(), subscription(at=1), refreshed(at=2)


@pytest.mark.parametrize(
    ("known", "shown", "born", "word"),
    [
        (WHOLE, (subscription(at=9),), 0, SEEN),
        (WHOLE, (subscription(at=9, unit=1),), 0, "taken in"),
        (WHOLE, (subscription(at=9, sub="sub_2"),), 0, "taken in"),
        (WHOLE, (void(at=9),), 0, SEEN),
        # What webhooks told is only a part; so the rest was not missing.
        (WHOLE[:2], (subscription(at=9, sub="sub_2"),), 0, "filled in"),
        (WHOLE[:2], (refreshed(at=9),), 0, SEEN),
        ((), (subscription(at=9),), 0, "unknown customer"),
        ((), (subscription(at=9),), 2, "taken in"),
        # A job has read the party after the list was read.
        (
            (*WHOLE, refreshed(at=20)),
            (subscription(at=9, unit=1), refreshed(at=9)),
            0,
            SEEN,
        ),
    ],
)
def test_what_a_party_is_now_is_compared_with_what_is_known(
    desk: Bench, known: Any, shown: Any, born: int, word: str
) -> None:
    if known:
        desk.tell(*known)
    source, archive = (
        discover()["stripe"],
        cast("Archive", States(*shown, born=born)),
    )
    compared = Comparison(desk.context.settings, desk.redis, source, archive)
    (verdict,), _ = compared.page((1, 9), "", 1)
    (again,), _ = compared.page((1, 9), "", 1)

    assert word == verdict.word
    assert again.word == (word if word == "unknown customer" else SEEN)


def test_what_is_only_observed_is_not_compared(desk: Bench, check: Completing) -> None:
    chosen = check.context.settings
    observed = replace(chosen, sources={**chosen.sources, OBSERVED: {"stripe"}})

    assert [] == comparisons(observed, desk.redis)
    said = complete(figures(desk.redis), observed)
    assert "not compared with its own list: it is only observed" == said["Stripe"]


def test_what_a_later_read_covers_is_taken_in_and_no_news(
    desk: Bench, check: Completing, happens: Any
) -> None:
    """An event without content has another id than the one that the list shows."""
    happens(2, comes=False)
    desk.tell(customer_fact("cus_0"), covered("cus_0"))
    to_the_end(check)

    assert 1 == place(desk.redis).missing


def test_a_list_whose_place_cannot_be_read_is_begun_anew(
    desk: Bench, check: Completing, stripe: LocalStripe, happens: Any
) -> None:
    happens(250, comes=False)
    check.tick()
    half = place(desk.redis)
    for one in stripe.listed("events"):
        if half.after.endswith(":" + one["id"]):
            stripe.forget("events", one["id"])
    to_the_end(check)
    assert ("", True) == (place(desk.redis).after, bool(place(desk.redis).reason))
    check.rests.clear()
    to_the_end(check)

    assert 250 == place(desk.redis).total


def test_a_redis_that_takes_nothing_costs_the_source_no_request(
    desk: Bench, check: Completing, stripe: LocalStripe
) -> None:
    desk.redis.config_set("min-replicas-to-write", 1)
    with pytest.raises(RedisError):
        check.tick()
    desk.redis.config_set("min-replicas-to-write", 0)

    assert [] == stripe.log
