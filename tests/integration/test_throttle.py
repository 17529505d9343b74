"""The budget: never more than its share of writes in any sixty seconds."""

from __future__ import annotations

import threading
from itertools import pairwise
from threading import Lock, Thread
from time import monotonic, sleep

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from redis import Redis

from bridge.store import keys
from bridge.store.connect import milliseconds
from bridge.store.inspect import figures
from bridge.throttle import Throttle
from bridge.vitally.client import Vitally
from bridge.vitally.replies import Rate
from bridge.vitally.simulator import Bucket
from tests.support.desk import Bench, customer, subscription
from tests.support.server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.alone

MINUTE = 60_000


@pytest.fixture
def throttle(redis: Redis) -> Throttle:
    return Throttle(redis, 0.8)


def rate(limit: int, left: int, *, write: bool = True) -> Rate:
    return Rate(limit, left, kind="PUT" if write else "")


def slots(redis: Redis) -> list[int]:
    """Every reserved slot in milliseconds, the earliest first."""
    pairs = redis.zrange(keys.SLOTS, 0, -1, withscores=True)
    return [int(at) for _, at in pairs]


def passes(redis: Redis, ms: int) -> None:
    """Let *ms* pass, by moving every slot back."""
    for raw in redis.zrange(keys.SLOTS, 0, -1):
        redis.zincrby(keys.SLOTS, -ms, raw)


# --- Slots ----------------------------------------------------------------------------


@pytest.mark.parametrize(("cost", "most"), [(1, 800), (10, 80), (30, 26)])
def test_no_sixty_seconds_hold_more_writes_than_the_share(
    redis: Redis, throttle: Throttle, cost: int, most: int
) -> None:
    """Replies have shown what a write costs."""
    for n in range(29):
        throttle.learn(rate(10_000, 10_000 - n * cost))
    throttle.learn(rate(1000, 1000, write=False))
    for _ in range(2 * most + 10):
        throttle.reserve(10 * MINUTE)
    taken = slots(redis)

    assert 2 * most + 10 == len(taken)
    assert MINUTE < min(taken[n + most] - taken[n] for n in range(len(taken) - most))


def test_many_writers_share_one_budget_and_a_write_is_taken_to_cost_ten(
    redis: Redis, throttle: Throttle
) -> None:
    another = Throttle(redis, 0.8)
    waits = [
        one.reserve(0, urgent=True)[0] for _ in range(41) for one in (throttle, another)
    ]

    assert [0] * 80 == waits[:80]
    assert MINUTE - 3000 < -waits[80] <= MINUTE + 1
    # What is too far off is not reserved.
    assert 80 == len(slots(redis))
    assert MINUTE - 3000 < throttle.reserve(MINUTE + 1)[0] <= MINUTE + 1


@examples(max_examples=40)
@given(
    cost=st.sampled_from([30, 100, 800, 10_000]),
    steps=st.lists(
        st.tuples(st.booleans(), st.sampled_from([0, 0, 0, 0, 50, 900, 9000, 59_000])),
        max_size=120,
    ),
)
def test_no_sixty_seconds_hold_more_whatever_is_urgent_and_whenever_it_comes(
    redis_server: RedisServer, cost: int, steps: list[tuple[bool, int]]
) -> None:
    taken: list[int] = []
    with redis_server.client() as redis:
        redis.flushall()
        redis.hset(keys.RATE, mapping={"limit": 1000, "cost": cost})
        throttle, most, passed = Throttle(redis, 0.8), max(1, 800 // cost), 0
        for urgent, ms in steps:
            wait, slot = throttle.reserve(5000, urgent=urgent)
            if wait >= 0:
                taken.append(passed + int(redis.zscore(keys.SLOTS, slot[0]) or 0))
            passes(redis, ms)
            passed += ms
    taken.sort()

    pairs = zip(taken, taken[most:], strict=False)
    assert all(last - first > MINUTE for first, last in pairs)


def test_an_idle_bridge_writes_half_a_minutes_share_at_once_then_spreads(
    redis: Redis, throttle: Throttle
) -> None:
    waits = [throttle.reserve(2 * MINUTE)[0] for _ in range(76)]

    assert [0] * 40 == waits[:40]
    slots = [at for _, at in redis.zrange(keys.SLOTS, 0, -1, withscores=True)]
    gaps = [b - a for a, b in pairwise(slots[39:])]
    assert (1500, 1700) < (min(gaps), max(gaps)) < (1800, MINUTE / 20)


def test_an_ending_goes_within_seconds_while_a_backlog_uses_the_budget(
    redis: Redis, throttle: Throttle
) -> None:
    taken: list[int] = []
    endings: list[int] = []
    begun = monotonic()
    for second in range(200):
        # Redis' clock goes on meanwhile.
        at = 1000 * second + round(1000 * (monotonic() - begun))
        for _ in range(4):
            wait, _ = throttle.reserve(1000)
            taken += [at + wait] if wait >= 0 else []
        if second % 4 == 0:
            endings.append(throttle.reserve(5000, urgent=True)[0])
            taken.append(at + endings[-1])
        passes(redis, 1000)

    assert [] == [wait for wait in endings if not 0 <= wait < 4000]
    for start in range(20_000, 140_000, 5000):
        used = sum(start <= at < start + MINUTE for at in taken)
        assert 72 <= used <= 82  # 80, and the seconds' own rounding


def test_looking_reserves_nothing(redis: Redis, throttle: Throttle) -> None:
    assert (0, []) == (throttle.wait(), slots(redis))


def test_a_slot_that_was_given_back_is_free_again(throttle: Throttle) -> None:
    taken = [throttle.reserve(0) for _ in range(40)]
    assert 0 > throttle.reserve(0)[0]
    assert 1 == len(taken[3][1])
    throttle.give_back(taken[3][1])

    assert 0 == throttle.reserve(0)[0]


@pytest.mark.parametrize(
    ("pauses", "wait"), [([4000], 4000), ([10_000, 100], 10_000), ([500, 9000], 9000)]
)
def test_the_longest_pause_holds_back_every_write(
    throttle: Throttle, pauses: list[int], wait: int
) -> None:
    for ms in pauses:
        throttle.pause(ms)

    assert wait - 500 < throttle.wait() <= wait
    assert wait - 500 < -throttle.reserve(1000)[0] <= wait


# --- What replies tell ----------------------------------------------------------------


@pytest.mark.parametrize("units", [1, 10])
def test_the_cost_of_a_write_is_learned_from_the_replies(
    desk: Bench, units: int
) -> None:
    desk.vitally.turn(write_cost=units)
    desk.exists("acme", "Acme")
    learn = desk.throttle.learn
    client = Vitally(desk.vitally.url, desk.vitally.authorization, observe=learn)
    client.probe()
    for n in range(12):
        client.update("acme", {"traits": {"mrr": n}})
    assert units == int(desk.redis.hget(keys.RATE, "cost"))

    # One odd reply does not change what was learned.
    desk.throttle.learn(rate(1000, 500))
    assert units == int(desk.redis.hget(keys.RATE, "cost"))


COSTS = {"PUT": 10, "POST": 25, "GET": 2}


def test_the_cost_of_each_kind_of_request_is_learned(
    redis: Redis, throttle: Throttle
) -> None:
    left = 10_000
    throttle.learn(rate(10_000, left))
    for kind, units in [*COSTS.items()] * 30:
        left -= units
        throttle.learn(Rate(10_000, left, kind))

    fields = ("cost", "cost:POST", "cost:GET")
    assert [b"10", b"25", b"2"] == redis.hmget(keys.RATE, fields)
    throttle.reserve(0, "POST")
    assert 3 == len(slots(redis))
    assert [0] * 6 == [throttle.reserve_read(0) for _ in range(6)]
    assert 5 == len(slots(redis))


@pytest.mark.parametrize(("update", "creation", "many"), [(9, 10, 1), (1, 2, 2)])
def test_a_creation_that_hardly_costs_more_takes_no_second_slot(
    redis: Redis, throttle: Throttle, update: int, creation: int, many: int
) -> None:
    """The cost of ten is learned as nine where replies come a few milliseconds late."""
    known = {"limit": 1000, "cost": update, "cost:POST": creation}
    redis.hset(keys.RATE, mapping=known)

    assert many == len(throttle.reserve(0, "POST", urgent=True)[1])
    most = 800 // (creation if many == 1 else update) - many
    waits = [throttle.reserve(0, urgent=True)[0] for _ in range(most + 1)]
    assert [0] * most == waits[:-1]
    assert waits[-1] < 0


def test_a_write_costs_what_a_creation_did_until_an_update_is_seen(
    redis: Redis, throttle: Throttle
) -> None:
    """An update of an account that is not there is refused, and tells nothing."""
    for left in (1000, 999, 998, 997):
        throttle.learn(Rate(1000, left, "POST"))

    assert [0] * 99 == [throttle.reserve(0, urgent=True)[0] for _ in range(99)]
    assert 0 == throttle.reserve_read(0) == throttle.reserve_read(0)
    assert 101 == len(slots(redis))
    throttle.learn(Rate(1000, 996, "PUT"))
    assert b"1" == redis.hget(keys.RATE, "cost")


def test_what_an_older_version_has_learned_is_kept(
    redis: Redis, throttle: Throttle
) -> None:
    known = {"cost": 3, "seen": " ".join(["3"] * 30), "left": 900, "limit": 10_000}
    redis.hset(keys.RATE, mapping=known)
    throttle.reserve(0, "POST")
    assert 1 == len(slots(redis))
    for kind in ("", "PUT", "POST"):
        throttle.learn(Rate(10_000, 800, kind))

    assert [b"3", b"3"] == redis.hmget(keys.RATE, "cost", "cost:POST")


@pytest.mark.parametrize("limit", [100, 1000])
def test_no_sixty_seconds_hold_more_units_whatever_kinds_are_sent(
    redis: Redis, throttle: Throttle, limit: int
) -> None:
    redis.hset(keys.RATE, mapping={"limit": limit, "cost": 10, "cost:POST": 25})
    sent = [throttle.reserve(100 * MINUTE, kind) for kind in ("PUT", "POST") * 40]
    taken = slots(redis)

    most = int(0.8 * limit / 10)
    assert 40 * (1 + 3) == len(taken)
    assert all(b - a > MINUTE for a, b in zip(taken, taken[most:], strict=False))
    for _, slot in sent:
        throttle.give_back(slot)
    assert [] == slots(redis)


def test_what_others_send_does_not_make_a_write_look_dear(
    redis: Redis, throttle: Throttle
) -> None:
    """Others send two for eight in nine of ours; later, as long as we wait, even more."""
    left = limit = 2000  # so low that a busy machine's pauses refill little of it
    throttle.learn(rate(limit, left))
    for n in range(60):
        left -= 10 if n % 9 == 0 else 30
        throttle.learn(rate(limit, left))
    for _ in range(40):
        redis.hincrby(keys.RATE, "at", -1500)
        left = 1000
        throttle.learn(rate(limit, left))

    assert b"10" == redis.hget(keys.RATE, "cost")


@pytest.mark.parametrize(
    ("limit", "remaining"), [(0, 0), (1, 0), (10**12, 10**12), (1, 10**12)]
)
def test_odd_limits_never_stop_the_throttle_for_good(
    throttle: Throttle, limit: int, remaining: int
) -> None:
    for write in (False, True):
        throttle.learn(rate(limit, remaining, write=write))

    assert 0 <= throttle.reserve(MINUTE)[0] <= MINUTE


@pytest.mark.parametrize("share", [0.2, 0.4, 0.8])
@pytest.mark.parametrize(
    ("left", "ordinary", "urgent"),
    [(0, 1500, 1500), (49, 1500, 1500), (50, 1500, 0), (99, 1500, 0), (100, 0, 0)],
)
def test_writes_wait_for_others_who_use_the_key_until_a_reply_shows_more(
    redis: Redis, share: float, left: int, ordinary: int, urgent: int
) -> None:
    """Bridges of any share alike; an ending waits less."""
    throttle = Throttle(redis, share)
    throttle.learn(rate(1000, left))
    assert (ordinary, urgent) == (throttle.wait(), throttle.wait(urgent=True))
    assert (left < 100, False) == (throttle.wants_look(), throttle.wants_look())
    throttle.learn(rate(1000, 100, write=False))

    assert (0, False) == (throttle.wait(), throttle.wants_look())
    assert (left < 100) == (figures(redis).scarce_at is not None)


def test_without_any_reply_writes_wait_for_others_no_longer_than_a_minute(
    redis: Redis, throttle: Throttle
) -> None:
    throttle.learn(rate(1000, 0))
    assert MINUTE - 1000 < throttle.reserve(MINUTE)[0] <= MINUTE
    redis.delete(keys.SLOTS)
    redis.hincrby(keys.RATE, "at", -MINUTE)

    assert 0 == throttle.wait()


def test_looks_leave_half_of_a_small_limit(throttle: Throttle) -> None:
    throttle.learn(rate(30, 2))
    looks = [throttle.wants_look()]
    for ago in (3.5, 4.5):
        throttle._looked = monotonic() - ago
        looks.append(throttle.wants_look())

    assert [True, False, True] == looks


def test_a_clock_that_was_put_back_does_not_end_the_learning(
    redis: Redis, throttle: Throttle
) -> None:
    throttle.learn(rate(1000, 500))
    left = []
    for ahead in (30_000, 3_600_000):
        redis.hincrby(keys.RATE, "at", ahead)
        throttle.learn(rate(1000, 400))
        left.append(redis.hget(keys.RATE, "left"))

    assert [b"500", b"400"] == left


def test_a_clock_that_was_put_back_stops_no_write_until_then(
    redis: Redis, throttle: Throttle
) -> None:
    for _ in range(50):
        throttle.reserve(MINUTE)
    for slot in redis.zrange(keys.SLOTS, 0, -1):
        redis.zincrby(keys.SLOTS, 60 * MINUTE, slot)

    assert 0 == throttle.wait()


def test_one_that_has_the_whole_key_waits_for_nobody(redis: Redis) -> None:
    throttle = Throttle(redis, 1.0)
    throttle.learn(rate(1000, 0))

    assert 0 == throttle.wait()


def test_the_sweeper_looks_now_and_then_whether_others_have_left_more(
    desk: Bench,
) -> None:
    """A look costs one unit, a write ten; none while Vitally fails, or wants none."""
    desk.throttle.learn(rate(1000, 0))
    desk.throttle.pause(60_000)
    desk.context.outage.note("answered 502", 0)
    for gone in (keys.RUN, keys.PAUSE, keys.FAILING):
        assert [] == desk.vitally.log()
        desk.redis.delete(gone)
        desk.throttle._looked = desk.sweeper.watched = 0.0
        desk.sweeper.tick()

    assert ["GET"] == [one["method"] for one in desk.vitally.log()]
    assert 0 == desk.throttle.wait()


# --- Several users of one key ---------------------------------------------------------


class Key:
    """A key whose limit several users share; a greedy one takes nearly all."""

    def __init__(self, begun: float) -> None:
        self.bucket, self.lock, self.begun = Bucket(6000, 60.0, begun), Lock(), begun
        self.bucket.take(4500, begun)

    def ask(self, cost: int) -> tuple[bool, Rate]:
        with self.lock:
            taken, now = self.bucket.take(cost, monotonic()), monotonic()
            return taken, rate(6000, self.bucket.remaining(now), write=cost > 1)

    def greedy(self) -> None:
        while self.ask(10)[1].remaining > 200:
            sleep(0.02)


class User:
    """A bridge of this *share*, with a Redis of its own and more to write than it may."""

    def __init__(self, redis: Redis, share: float, key: Key) -> None:
        self.redis, self.throttle, self.key = redis, Throttle(redis, share), key
        self.wrote: list[float] = []
        self.ended: list[float] = []
        self.limited, self.looks_at = 0, 0.0

    def run(self) -> None:
        while (at := monotonic() - self.key.begun) < 9:
            # The sweeper asks itself once a second; this limit is six times the real one.
            if at > self.looks_at and self.throttle.wants_look():
                self.looks_at = at + 1 / 6
                self.ask(1)
            is_ending = at > 2 + len(self.ended)
            wait, _ = self.throttle.reserve(50, urgent=is_ending)
            if wait < 0:
                sleep(0.02)
                continue
            sleep(wait / 1000)
            self.ask(10)
            (self.ended if is_ending else self.wrote).append(at)

    def ask(self, cost: int) -> None:
        taken, left = self.key.ask(cost)
        self.limited += not taken
        self.throttle.learn(left)


def test_bridges_share_a_key_with_a_greedy_user_without_a_429_and_none_starves(
    redis_server: RedisServer,
) -> None:
    """Endings go as soon as half of what others need is there; all others, then."""
    begun = monotonic()
    users: list[User] = []
    running: list[Thread] = []
    for shares in ((0.4, 0.4), (0.6, 0.2), (0.8, 0.8)):
        key = Key(begun)
        running.append(Thread(target=key.greedy))
        for share in shares:
            client = Redis(port=redis_server.port, db=len(users))
            client.flushdb()
            users.append(User(client, share, key))
    running += [Thread(target=one.run) for one in users]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()

    assert [0] * 6 == [one.limited for one in users]
    assert [] == [one.ended for one in users if one.ended[0] > 6]
    assert [] == [one.wrote for one in users if one.wrote[-1] < 5]
    assert None not in [figures(one.redis).scarce_at for one in users]
    for one in users:
        one.redis.close()


# --- Jobs that wait -------------------------------------------------------------------


def test_a_job_whose_slot_is_far_off_waits_elsewhere(desk: Bench) -> None:
    for _ in range(80):
        desk.throttle.reserve(0, urgent=True)

    assert ["waited"] == desk.does(customer())
    assert 55 < (desk.due_in() or 0) <= 61
    assert ([], 80) == (desk.writes(), len(slots(desk.redis)))


@pytest.mark.parametrize("stops", [keys.BREAKER, keys.PAUSED])
def test_a_job_that_was_popped_before_all_writes_stopped_sends_nothing(
    desk: Bench, stops: str
) -> None:
    """An idle worker waits for its next job, and so is past the gate."""
    desk.redis.set(stops, "example")

    assert ["waited"] == desk.does(customer())
    assert ([], [], {"cus_1"}) == (desk.writes(), slots(desk.redis), desk.dirty())
    desk.redis.delete(stops)
    desk.passes(2000)
    assert ["created"] == desk.work()


def test_a_write_that_the_wait_made_needless_gives_its_slot_back(desk: Bench) -> None:
    desk.rests(customer(), subscription(at=1, unit=100))
    desk.redis.delete(keys.SLOTS)
    desk.throttle.pause(2000)
    desk.tell(subscription(at=2, unit=200))
    words: list[str] = []
    running = threading.Thread(target=lambda: words.append(desk.next()))
    began = monotonic()
    running.start()
    eventually(lambda: slots(desk.redis))
    desk.tell(subscription(at=3, unit=100))
    running.join()

    assert ["unchanged"] == words
    assert monotonic() - began > 1.5
    assert [] == slots(desk.redis)


def test_a_creation_takes_a_slot_for_each_of_its_requests(desk: Bench) -> None:
    desk.does(customer())

    assert 2 == len(desk.writes()) == len(slots(desk.redis))


def test_a_creation_does_not_go_on_while_vitally_wants_to_be_left_alone(
    desk: Bench,
) -> None:
    """Another worker was told to wait two minutes between this one's PUT and POST."""
    desk.fault("status", "PUT", status=404, body={"error": "Account not found."})
    mark = desk.leases.mark_unconfirmed

    def mark_and_pause(*args: object) -> None:
        mark(*args)  # type: ignore[arg-type]
        desk.throttle.pause(120_000)

    desk.leases.mark_unconfirmed = mark_and_pause  # type: ignore[method-assign]
    assert ["waited"] == desk.does(customer())
    assert ([("PUT", 404)], {"cus_1"}) == (desk.writes(), desk.dirty())


def test_a_share_of_one_write_a_minute_creates_accounts(desk: Bench) -> None:
    """There is no slot for the creation behind an update; it takes the next one."""
    desk.context.throttle = Throttle(desk.redis, 0.01)
    words = desk.does(customer())
    desk.passes(61_000)

    assert ["waited", "created"] == [*words, *desk.work()]
    assert [("PUT", 404), ("POST", 200)] == desk.writes()
    assert "cause" not in desk.look.histories(["acme"])["acme"][0]


@pytest.mark.parametrize(("pause", "writes"), [(4000, []), (0, [("PUT", 404)])])
def test_a_stop_ends_the_wait_for_a_slot_and_is_no_failure(
    desk: Bench, pause: int, writes: list[tuple[str, int]]
) -> None:
    """Before the first request, and between two."""
    desk.throttle.pause(pause)
    desk.stop.set()
    began = monotonic()

    assert ["waited"] == desk.does(customer())
    assert 2 > monotonic() - began
    assert (writes, {"cus_1"}) == (desk.writes(), desk.dirty())
    assert len(writes) == len(slots(desk.redis))


def test_as_many_reads_as_a_write_costs_share_a_slot(desk: Bench) -> None:
    throttle = desk.throttle
    assert [0] * 11 == [throttle.reserve_read(0) for _ in range(11)]
    assert 2 == len(slots(desk.redis))

    desk.redis.set(keys.PAUSED, "by hand")
    assert 0 == throttle.reserve_read(0)
    throttle.pause(3000)
    assert throttle.reserve_read(0) < 0


def test_looking_for_an_account_before_its_creation_takes_its_share_of_a_slot(
    desk: Bench,
) -> None:
    """A reading eleven minutes ago did not show them."""
    desk.redis.set(keys.LISTED, milliseconds(desk.redis) - 11 * MINUTE)
    for n in range(3):
        desk.does(customer(f"cus_{n}", account=f"a{n}"))

    assert [("POST", 200)] * 3 == desk.writes()
    assert 3 + 1 == len(slots(desk.redis))


def test_a_creation_takes_its_slots_however_long_ago_it_was_seen_missing(
    desk: Bench,
) -> None:
    desk.redis.hset(keys.RATE, mapping={"limit": 1000, "cost": 10, "cost:POST": 30})
    seen = milliseconds(desk.redis) - 20 * MINUTE
    desk.redis.hset(keys.account("birch"), "seen", f"[{{}},{seen},true]")

    assert ["created"] == desk.does(customer("cus_2", account="birch"))
    assert 3 <= len(slots(desk.redis))
