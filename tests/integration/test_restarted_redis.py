"""Redis comes back without what was written last: its leases are void, ledgers in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bridge.config import Config
from bridge.errors import LostLeaseError
from bridge.store import keys
from bridge.store.connect import milliseconds
from bridge.store.view import Outcome, View
from tests.support.desk import Bench, bench, customer, link, settings, subscription
from tests.support.server import RedisServer
from tests.support.waiting import eventually
from workers.process import Process

PARTY = "stripe:cus_1"


@pytest.fixture
def settled(desk: Bench) -> Bench:
    """A customer that Vitally has, long ago."""
    desk.settles(customer(), subscription())
    desk.passes(3_600_000)
    return desk


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that may be killed."""
    with RedisServer() as running:
        yield running


def restarts(desk: Bench) -> None:
    """The next script is run by another process than the one before, a moment later."""
    before = milliseconds(desk.redis)
    eventually(lambda: milliseconds(desk.redis) > before)
    assert desk.redis.hset(keys.RUN, "id", "another") == 0


def begun(desk: Bench) -> View:
    view = desk.leases.begin(PARTY)
    assert view is not None
    return view


def test_a_write_of_which_redis_has_lost_the_ack_is_made_good(settled: Bench) -> None:
    settled.client.update("acme", {"traits": {"mrr": 900, "planName": "Lost"}})
    before = dict(settled.traits())
    restarts(settled)
    settled.settles(subscription(at=1))

    assert (900, 450) == (before["mrr"], settled.traits()["mrr"])
    assert "Pro" == settled.traits()["planName"]


@pytest.mark.parametrize("what", ["the same Redis", "the first look", "long ago"])
def test_nothing_is_sent_again_where_nothing_can_be_lost(
    settled: Bench, what: str
) -> None:
    if what == "the first look":
        settled.redis.delete(keys.RUN)
    if what == "long ago":
        restarts(settled)
        begun(settled)
        settled.redis.hincrby(keys.RUN, "since", -600_001)
        settled.redis.hdel(keys.account("acme"), "doubt")
        settled.redis.delete(keys.lease("acme"))
    known = len(settled.writes())
    settled.settles(subscription(at=1))

    assert known == len(settled.writes())


def test_an_account_that_was_written_since_is_not_in_doubt_again(
    settled: Bench,
) -> None:
    restarts(settled)
    settled.rests(subscription(at=1))
    settled.work()
    known = len(settled.writes())
    settled.rests(subscription(at=2))
    settled.work()

    assert 4 == known == len(settled.writes())


def test_what_was_begun_before_is_neither_confirmed_nor_in_the_way(
    settled: Bench,
) -> None:
    """Its revisions may be lost, and by now count events that it has not seen."""
    settled.take(subscription(at=1, unit=90000))
    old = begun(settled)
    restarts(settled)

    with pytest.raises(LostLeaseError):
        settled.leases.renew(old.lease)
    with pytest.raises(LostLeaseError):
        settled.leases.ack(old, Outcome("updated"))
    assert old.lease.fence < begun(settled).lease.fence
    settled.check()


def test_a_party_without_an_account_that_was_read_before_is_read_again(
    desk: Bench,
) -> None:
    desk.take(customer(account=None))
    old = begun(desk)
    restarts(desk)

    with pytest.raises(LostLeaseError):
        desk.leases.ack(old, Outcome("held", "held"))
    desk.sweep()
    assert ["held"] == desk.work()


def test_a_fencing_number_is_never_given_twice(desk: Bench) -> None:
    taken: list[int] = []
    for _ in range(3):
        lease = desk.leases.take("acme", PARTY)
        assert lease is not None
        taken.append(lease.fence)
        desk.redis.delete(keys.FENCE, keys.lease("acme"))
        eventually(lambda: milliseconds(desk.redis) > taken[-1] // 1000)

    assert sorted(set(taken)) == taken


@pytest.mark.parametrize("workers", [1, 2])
def test_several_workers_wait_for_what_one_may_have_on_its_way(
    settled: Bench, workers: int
) -> None:
    settled.redis.zadd(keys.WORKERS, dict.fromkeys("ab"[:workers], 0))
    restarts(settled)
    settled.take(subscription(at=1))
    begun(settled)

    assert (workers == 2) == (settled.redis.pttl(keys.PAUSE) > 7500)


def test_a_longer_pause_stays(settled: Bench) -> None:
    settled.redis.zadd(keys.WORKERS, {"a": 0, "b": 0})
    settled.throttle.pause(60_000)
    restarts(settled)
    begun(settled)

    assert settled.redis.pttl(keys.PAUSE) > 50_000


def test_a_clock_that_was_put_back_is_a_restart(settled: Bench) -> None:
    """Else no job could end until it has caught up."""
    restarts(settled)
    settled.does(subscription(at=1))
    settled.redis.hincrby(keys.RUN, "since", 3_600_000)
    settled.settles(subscription(at=2, unit=90000))

    assert 900 == settled.traits()["mrr"]


def test_the_lease_of_an_older_version_counts_until_it_expires(settled: Bench) -> None:
    restarts(settled)
    settled.take(subscription(at=1))
    settled.redis.set(keys.lease("acme"), 7, px=10_000)

    assert settled.leases.begin(PARTY) is None


def test_a_redis_that_evicts_keys_has_not_come_back_empty(
    server: RedisServer, desk: Bench
) -> None:
    process = Process(settings(desk.vitally.url, server.url), Config(), "w", desk.stop)
    redis: Any = process.redis
    process._beat()
    emptied = [redis.delete(keys.EMPTIED)]
    redis.config_set("maxmemory-policy", "allkeys-random")
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] + 500_000)
    while not redis.info("stats")["evicted_keys"]:
        redis.set(f"more:{redis.dbsize()}", "x" * 50_000)
    redis.delete(keys.SETUP)
    process._beat()
    emptied.append(redis.exists(keys.EMPTIED))
    process.redis.close()

    assert [1, 0] == emptied


def test_a_redis_that_tells_nothing_of_itself_may_come_back_empty(
    server: RedisServer, desk: Bench
) -> None:
    process = Process(settings(desk.vitally.url, server.url), Config(), "w", desk.stop)
    process.redis.acl_setuser("default", enabled=True, commands=["-info"])
    process._beat()
    emptied = process.redis.exists(keys.EMPTIED, keys.SETUP)
    process.redis.close()

    assert 2 == emptied


def test_all_accounts_are_read_soon_after(settled: Bench) -> None:
    settled.redis.set(keys.RECONCILED, 1)
    restarts(settled)
    begun(settled)

    assert not settled.redis.exists(keys.RECONCILED)


def test_slots_that_were_forgotten_cost_no_more_than_a_wait(desk: Bench) -> None:
    """What Vitally's replies say of its limit stops the writes in time."""
    desk.vitally.turn(rate_limit=300)
    desk.stop.set()  # no job waits for a slot
    accounts = [f"acct-{number}" for number in range(45)]
    for number, account in enumerate(accounts):
        if number % 15 == 0:
            desk.redis.delete(keys.SLOTS)
        desk.tell(customer(f"cus_{number}", account=account))
        desk.work()
    refused = [status for _, status in desk.writes() if status == 429]
    parked, had = desk.check().parked, len(desk.writes())

    assert len(refused) <= 1
    assert (0, True) == (parked, 24 < had < 40)


def test_what_somebody_did_last_is_gone_and_the_party_is_held_again(
    server: RedisServer,
) -> None:
    with server.client() as redis, bench(redis) as desk:
        assert ["held"] == desk.does(customer(account=None))
        assert redis.waitaof(1, 0, 10_000)[0]
        (file,) = server.folder.glob("appendonlydir/*.incr.aof")
        length = file.stat().st_size
        desk.does(link("cus_1", "acme", at=1))
        linked = desk.standing().held
        server.kill()
        file.write_bytes(file.read_bytes()[: length + 9])
        server.restart()

        assert (0, 1) == (linked, desk.standing().held)
        assert redis.zscore(keys.HELD, PARTY)
        desk.check()


def test_a_failover_is_a_restart(server: RedisServer) -> None:
    with (
        RedisServer() as other,
        server.client() as redis,
        other.client() as replica,
        bench(redis) as desk,
    ):
        desk.does(customer())
        desk.take(subscription())
        replica.replicaof("127.0.0.1", server.port)
        eventually(lambda: replica.exists(keys.RUN))
        server.kill()
        replica.replicaof("NO", "ONE")
        with bench(replica) as after:
            view = begun(after)

    assert 2 == view.unconfirmed_writes
