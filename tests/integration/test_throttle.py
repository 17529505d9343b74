"""The budget: never more than its share of writes in any sixty seconds."""

from __future__ import annotations

import threading
from collections import Counter
from time import monotonic

import pytest
from redis import Redis

from bridge.store import keys
from bridge.vitally.client import Vitally
from bridge.vitally.replies import Rate
from tests.support.desk import Bench, customer, subscription
from tests.support.waiting import eventually
from workers.throttle import Throttle
from workers.write import Postponed

pytestmark = pytest.mark.alone

MINUTE = 60_000


@pytest.fixture
def throttle(redis: Redis) -> Throttle:
    return Throttle(redis, 0.8)


def costs(throttle: Throttle, units: int, limit: int = 1000) -> None:
    """Replies have shown a limit, and that a write costs *units*."""
    left = limit
    throttle.learn(Rate(limit, left, 0.0, write=False))
    for _ in range(9):
        left -= units
        throttle.learn(Rate(limit, left, 0.0, write=True))


def slots(redis: Redis) -> list[int]:
    """Every reserved slot in milliseconds, the earliest first."""
    found = redis.zrange(keys.SLOTS, 0, -1, withscores=True)
    return [int(at) for _, at in found]


@pytest.mark.parametrize(("cost", "most"), [(1, 800), (10, 80), (30, 26)])
def test_no_sixty_seconds_hold_more_writes_than_the_share(
    redis: Redis, throttle: Throttle, cost: int, most: int
) -> None:
    costs(throttle, cost)
    for _ in range(2 * most + 10):
        throttle.reserve(10 * MINUTE)

    taken = slots(redis)

    assert 2 * most + 10 == len(taken)
    widths = [taken[n + most] - taken[n] for n in range(len(taken) - most)]
    assert min(widths) > MINUTE


def test_a_write_is_taken_to_cost_ten_until_a_reply_has_shown_it(
    throttle: Throttle,
) -> None:
    waits = [throttle.reserve(MINUTE)[0] for _ in range(81)]

    assert [0] * 80 == waits[:80]
    assert MINUTE - 2000 < abs(waits[80]) <= MINUTE + 1


@pytest.mark.parametrize("units", [1, 10])
def test_the_cost_of_a_write_is_learned_from_the_replies(
    desk: Bench, units: int
) -> None:
    desk.vitally.turn(write_cost=units)
    desk.exists("acme", "Acme")
    rates: list[Rate] = []
    client = Vitally(desk.vitally.url, desk.vitally.authorization, observe=rates.append)
    client.probe()
    desk.throttle.learn(Rate(rates[-1].limit, rates[-1].remaining, 0.0, write=False))
    for n in range(9):
        client.update("acme", {"traits": {"mrr": n}})
        desk.throttle.learn(Rate(rates[-1].limit, rates[-1].remaining, 0.0, write=True))

    learned = int(desk.redis.hget(keys.RATE, "cost"))

    assert units == learned


def test_one_odd_reply_does_not_change_what_was_learned(
    redis: Redis, throttle: Throttle
) -> None:
    costs(throttle, 1)
    throttle.learn(Rate(1000, 500, 0.0, write=True))

    assert b"1" == redis.hget(keys.RATE, "cost")


@pytest.mark.parametrize(
    ("limit", "remaining"), [(0, 0), (1, 0), (10**12, 10**12), (1, 10**12)]
)
def test_odd_limits_never_stop_the_throttle_for_good(
    throttle: Throttle, limit: int, remaining: int
) -> None:
    throttle.learn(Rate(limit, remaining, 0.0, write=False))
    throttle.learn(Rate(limit, remaining, 0.0, write=True))

    assert 0 <= throttle.reserve(MINUTE)[0] <= 6000


def test_a_slot_that_was_given_back_is_free_again(throttle: Throttle) -> None:
    taken = [throttle.reserve(0) for _ in range(80)]
    assert 0 > throttle.reserve(0)[0]

    throttle.give_back(taken[3][1])

    assert 0 == throttle.reserve(0)[0]


def test_a_slot_too_far_off_is_not_reserved(redis: Redis, throttle: Throttle) -> None:
    for _ in range(80):
        throttle.reserve(0)

    wait, _slot = throttle.reserve(5000)

    assert MINUTE - 3000 < -wait <= MINUTE + 1
    assert 80 == len(slots(redis))


def test_looking_reserves_nothing(redis: Redis, throttle: Throttle) -> None:
    assert 0 == throttle.wait()
    assert [] == slots(redis)


def test_a_pause_holds_back_every_write(throttle: Throttle) -> None:
    throttle.pause(4000)

    assert 3500 < throttle.wait() <= 4000
    assert 3500 < -throttle.reserve(1000)[0] <= 4000


def test_others_who_use_the_key_go_first(throttle: Throttle) -> None:
    throttle.learn(Rate(1000, 40, 0.0, write=True))

    assert 3600 == pytest.approx(throttle.wait(), abs=300)


def test_what_the_bridge_leaves_by_itself_is_no_sign_of_others(
    throttle: Throttle,
) -> None:
    throttle.learn(Rate(1000, 200, 0.0, write=True))

    assert 0 == throttle.wait()


def test_a_shorter_pause_does_not_end_a_longer_one(throttle: Throttle) -> None:
    throttle.pause(10_000)
    throttle.pause(100)

    assert 9000 < throttle.wait()


def test_a_longer_pause_replaces_a_shorter_one(throttle: Throttle) -> None:
    throttle.pause(500)
    throttle.pause(10_000)

    assert 9000 < throttle.wait()


def test_many_writers_share_one_budget(redis: Redis) -> None:
    one, two = Throttle(redis, 0.8), Throttle(redis, 0.8)
    free = Counter(
        throttle.reserve(0)[0] == 0 for _ in range(60) for throttle in (one, two)
    )

    assert 80 == free[True]


def test_a_job_whose_slot_is_far_off_waits_elsewhere(desk: Bench) -> None:
    for _ in range(80):
        desk.throttle.reserve(0)
    desk.tell(customer())

    assert ["retried"] == desk.work()

    assert [] == desk.writes()
    assert 55 < (desk.due_in() or 0) <= 61
    assert 80 == len(slots(desk.redis))


def test_a_write_that_the_wait_made_needless_gives_its_slot_back(desk: Bench) -> None:
    desk.tell(customer(), subscription(at=1, unit=100))
    desk.work()
    desk.passes(60_000)
    desk.redis.delete(keys.SLOTS)
    desk.throttle.pause(400)
    desk.tell(subscription(at=2, unit=200))
    job = desk.pop()
    assert job is not None
    words: list[str] = []
    running = threading.Thread(target=lambda: words.append(desk.jobs.run(job.args[0])))
    began = monotonic()
    running.start()
    eventually(lambda: desk.redis.exists(keys.lease("acme")))
    eventually(lambda: slots(desk.redis))
    desk.tell(subscription(at=3, unit=100))
    running.join()

    assert ["unchanged"] == words
    assert 0.3 < monotonic() - began < 3
    assert [] == slots(desk.redis)


def test_a_creation_takes_a_slot_for_each_of_its_requests(desk: Bench) -> None:
    desk.tell(customer())
    desk.work()

    assert 2 == len(desk.writes()) == len(slots(desk.redis))


def test_a_creation_does_not_go_on_while_vitally_wants_to_be_left_alone(
    desk: Bench,
) -> None:
    """Another worker was told to wait two minutes between this one's PUT and POST."""
    desk.fault("status", "PUT", status=404, body={"error": "Account not found."})
    desk.tell(customer())
    job = desk.pop()
    assert job is not None
    doubt = desk.leases.mark_unconfirmed

    def told(*args: object) -> None:
        doubt(*args)  # type: ignore[arg-type]
        desk.throttle.pause(120_000)

    desk.leases.mark_unconfirmed = told  # type: ignore[method-assign]
    desk.jobs.run(job.args[0])

    assert [("PUT", 404)] == desk.writes()
    assert {"cus_1"} == desk.dirty()


def test_a_stop_ends_the_wait_for_a_slot(desk: Bench) -> None:
    desk.throttle.pause(4000)
    desk.tell(customer())
    desk.stop.set()
    began = monotonic()

    assert ["retried"] == desk.work()

    assert 1 > monotonic() - began
    assert [] == desk.writes() + slots(desk.redis)
    assert {"cus_1"} == desk.dirty()


def test_a_stop_between_two_requests_is_no_failure(desk: Bench) -> None:
    desk.tell(customer())
    desk.stop.set()
    try:
        words = desk.work()
    except Postponed:  # pragma: no cover
        pytest.fail("the stop is an outcome of the job")

    assert ["retried"] == words
    assert [("PUT", 404)] == desk.writes()
