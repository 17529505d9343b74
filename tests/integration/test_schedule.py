"""The schedule reads Vitally when it is due, in nobody's way, and mends what drifted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from bridge.domain.values import DAY_MS
from bridge.reconcile import FRESH_MS, Reconciler
from bridge.store import keys
from bridge.store.connect import milliseconds
from tests.support.desk import Bench, customer, subscription
from tests.support.waiting import eventually
from workers.reconcile import FIRST_MS, Schedule

Make = Callable[..., Schedule]


@pytest.fixture
def make(desk: Bench) -> Make:
    """The schedule of a worker that sweeps, due now; Vitally has 250 accounts."""
    desk.vitally.turn(rate_limit=1_000_000)
    for n in range(250):
        desk.vitally.add({"externalId": f"a{n}", "name": "A"})

    def make(worker: str = "one", done: int = 1) -> Schedule:
        desk.redis.set(keys.SWEEPER, worker)
        desk.redis.set(keys.RECONCILED, done)
        desk.redis.delete(keys.READER)
        return Schedule(desk.context, worker)

    return make


def pages(desk: Bench) -> int:
    """How many pages of 100 accounts were asked for."""
    return sum("limit=100" in one["path"] for one in desk.vitally.log())


def ticks(schedule: Schedule, times: int = 5) -> None:
    for _ in range(times):
        schedule.tick()


def test_a_reading_is_one_request_at_a_time_and_goes_on_in_another_worker(
    desk: Bench, make: Make
) -> None:
    for n, worker in enumerate(("one", "two", "three")):
        make(worker).tick()
        assert n + 1 == pages(desk)
    last = make("three")
    ticks(last)

    assert 3 == pages(desk)
    assert not desk.redis.exists(keys.LISTING)
    assert not last.is_due()


@pytest.mark.parametrize(
    ("setting", "ago", "due"),
    [
        ("daily", DAY_MS - 60_000, False),
        ("daily", DAY_MS, True),
        ("weekly", 6 * DAY_MS, False),
        ("weekly", 7 * DAY_MS, True),
    ],
)
def test_the_next_reading_is_due_a_period_after_the_last(
    desk: Bench, make: Make, setting: str, ago: int, due: bool
) -> None:
    desk.set(bridge_reconcile=setting)

    assert due == make(done=milliseconds(desk.redis) - ago).is_due()


def test_the_first_reading_is_due_ten_minutes_after_the_first_start(
    desk: Bench, make: Make
) -> None:
    schedule = make()
    desk.redis.delete(keys.RECONCILED)
    ticks(schedule)
    assert 0 == pages(desk)

    desk.redis.decrby(keys.RECONCILED, FIRST_MS)
    schedule.tick()
    assert 1 == pages(desk)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (keys.SWEEPER, "another"),
        (keys.READER, "by hand"),
        (keys.BREAKER, "no"),
        (keys.PAUSED, ""),
        (keys.PAUSE, "1"),
    ],
)
def test_nothing_is_read_while_something_speaks_against_it(
    desk: Bench, make: Make, key: str, text: str
) -> None:
    schedule = make()
    schedule.tick()
    desk.redis.set(key, text, px=60_000)
    ticks(schedule)
    assert 1 == pages(desk)


def test_a_reading_leaves_the_limit_to_writes(desk: Bench, make: Make) -> None:
    schedule = make()
    desk.redis.hset(keys.RATE, mapping={"limit": 100, "cost": 10})
    for _ in range(8):
        desk.throttle.reserve(60_000)
    ticks(schedule)

    assert 0 == pages(desk)


@pytest.mark.parametrize(
    ("fault", "word", "rest"),
    [
        ({"kind": "status", "status": 503}, "answered 503", 60),
        ({"kind": "status", "status": 401}, "", 60),
        ({"kind": "non_json"}, "JSON", 60),
    ],
)
def test_what_cannot_be_read_is_said_once_and_tried_again_later(
    desk: Bench,
    make: Make,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, object],
    word: str,
    rest: int,
) -> None:
    schedule = make()
    schedule.tick()
    desk.vitally.break_with([fault])
    ticks(schedule)

    (line,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert f"{rest} s" == line.__dict__["fields"]["again_in"]
    assert word in line.__dict__["fields"]["reason"]
    assert 2 == pages(desk)
    assert (fault.get("status") == 401) == (desk.breaker.reason() is not None)

    desk.breaker.close()
    schedule.rests_until = 0.0
    ticks(schedule)
    assert 4 == pages(desk)


def test_an_error_of_the_bridge_s_own_ends_no_worker(desk: Bench, make: Make) -> None:
    schedule = make()
    schedule.reconciler = cast("Reconciler", None)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(schedule.run)
        eventually(lambda: schedule.rests_until > 0)
        desk.stop.set()
        assert None is running.result()


@pytest.mark.parametrize(("after", "most"), [("9", 9000), ("999999999", 600_000)])
def test_a_429_of_a_reading_lets_all_workers_wait(
    desk: Bench, make: Make, after: str, most: int
) -> None:
    schedule = make()
    desk.fault("status", "GET", status=429, headers={"Retry-After": after})
    schedule.tick()

    assert desk.throttle.wait() > 8000
    assert desk.throttle.wait() <= most


def test_what_drifted_is_mended_without_keeping_new_events_waiting(
    desk: Bench, make: Make
) -> None:
    schedule = make()
    for n in range(25):
        desk.tell(customer(f"cus_{n}", account=f"a{n}"), subscription(f"cus_{n}"))
    desk.work()
    desk.passes(60_000)
    sent = len(desk.writes())
    for n in range(25):
        desk.client.update(f"a{n}", {"traits": {"planName": "Ours", "theirs": n}})
    desk.vitally.turn(rate_limit=1000)
    ticks(schedule)
    assert 25 == desk.check().drift
    assert 0 == desk.queue.depth()
    # After the first twenty: fifty a minute, half of what Vitally allows.
    ((_, last),) = desk.redis.zrange(keys.LATER, -1, -1, withscores=True)
    assert 4000 < last - milliseconds(desk.redis) < 7000

    desk.passes(60_000)
    desk.work()
    assert 0 == desk.check().drift
    assert {("Pro", n) for n in range(25)} == {
        (one["planName"], one["theirs"])
        for one in (desk.traits(f"a{n}") for n in range(25))
    }
    assert 25 + 25 == len(desk.writes()) - sent
    assert not schedule.is_due()


def test_a_fresh_reading_by_hand_is_not_made_again(desk: Bench, make: Make) -> None:
    schedule = make()
    desk.redis.set(keys.LISTED, milliseconds(desk.redis) - FRESH_MS + 5000)
    ticks(schedule)

    assert 0 == pages(desk)
    assert not schedule.is_due()


def test_another_workspace_is_said_and_nothing_is_mended(
    desk: Bench, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    schedule = make()
    for n in range(21):
        desk.tell(customer(f"cus_{n}", account=f"b{n}"))
    desk.work()
    desk.passes(60_000)
    for n in range(21):
        desk.client.delete(f"b{n}")
    ticks(schedule)

    (line,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "same workspace" in line.__dict__["fields"]["reason"]
    assert 0 == desk.check().drift
    assert 3 == pages(desk)
