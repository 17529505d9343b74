"""Redis comes back without what was written last: its leases are void, ledgers in doubt."""

from __future__ import annotations

import pytest

from bridge.errors import LostLeaseError
from bridge.store import keys
from bridge.store.connect import milliseconds
from bridge.store.view import Outcome, View
from tests.support.desk import Bench, customer, subscription
from tests.support.waiting import eventually

PARTY = "stripe:cus_1"


@pytest.fixture
def settled(desk: Bench) -> Bench:
    """A customer that Vitally has, long ago."""
    desk.settles(customer(), subscription())
    desk.passes(3_600_000)
    return desk


def restarts(desk: Bench) -> None:
    """The next script is run by another process than the one before."""
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


def test_all_accounts_are_read_soon_after(settled: Bench) -> None:
    settled.redis.set(keys.RECONCILED, 1)
    restarts(settled)
    begun(settled)

    assert not settled.redis.exists(keys.RECONCILED)
