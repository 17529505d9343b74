"""What was lost between Redis and a worker is found and queued again, and no more."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import pytest

from bridge.domain.facts import Fact
from bridge.store import keys
from bridge.store.lease import Claim
from tests.support.desk import BETWEEN, QUEUE, Bench, customer, subscription
from tests.support.round_trips import round_trips
from tests.support.waiting import eventually
from workers import sweep
from workers.sweep import ASK

STARTED = "rq:wip:bridge"
PARTY = "stripe:cus_1"


def never_queued(desk: Bench) -> None:
    desk.take(customer())


def vanished(desk: Bench) -> None:
    desk.tell(customer())
    desk.popped()
    desk.redis.delete("rq:job:stripe-cus_1-1")


def between_two_lists(desk: Bench) -> None:
    desk.tell(customer())
    desk.redis.lmove(QUEUE, BETWEEN, "LEFT", "RIGHT")


def started_and_died(desk: Bench, *facts: Fact) -> None:
    desk.tell(*facts or [customer()])
    job = desk.pop()
    assert job is not None
    job.set_status("started")
    desk.redis.zadd(STARTED, {f"{job.id}:execution": 2**40})


@pytest.mark.parametrize(
    "loses", [never_queued, vanished, between_two_lists, started_and_died]
)
def test_a_lost_job_is_replaced_once_and_nothing_is_left_of_it(
    desk: Bench, loses: Callable[[Bench], None]
) -> None:
    loses(desk)
    for _ in range(2):
        desk.sweep()

        assert ["stripe-cus_1-2"] == desk.queue.waiting()
        assert 0 == desk.redis.llen(BETWEEN)
        assert 0 == desk.redis.exists("rq:job:stripe-cus_1-1")
    assert ["created"] == desk.work()


def an_ending_started_and_died(desk: Bench) -> None:
    started_and_died(desk, subscription(status="canceled", kind="deleted"))


def leased(desk: Bench) -> None:
    desk.tell(customer())
    desk.leases.move(PARTY, "acme")
    assert desk.leases.take("acme", desk.popped()) is not None


def settled(desk: Bench) -> None:
    desk.does(customer())


def postponed(desk: Bench) -> None:
    desk.fault("status", "PUT", status=503)
    assert ["retried"] == desk.does(customer())
    desk.leases.postpone(PARTY, 60_000)


@pytest.mark.parametrize("keeps", [leased, settled, postponed])
def test_a_party_that_somebody_works_on_is_left_alone(
    desk: Bench, keeps: Callable[[Bench], None]
) -> None:
    keeps(desk)
    desk.sweep()

    assert 0 == desk.queue.depth()


def test_a_party_that_waits_for_its_next_try_is_queued_then(desk: Bench) -> None:
    postponed(desk)
    desk.sweep()

    assert "coalesced" == desk.tell(subscription()).receipt
    desk.passes(61_000)
    assert ["created"] == desk.work()


def test_a_job_that_waits_in_the_list_is_left_alone_however_long(desk: Bench) -> None:
    desk.tell(customer())
    for _ in range(3):
        desk.sweep(3_600_000)

    assert ["stripe-cus_1-1"] == desk.queue.waiting()


def test_a_job_on_its_way_gets_its_time(desk: Bench) -> None:
    desk.take(customer())
    began = monotonic()
    desk.sweeper.sweep()
    desk.sweeper.sweep()
    assert 0 == desk.queue.depth()

    eventually(lambda: desk.sweeper.tick() or desk.queue.depth())
    assert 2 <= monotonic() - began


def test_a_death_between_claim_and_job_of_a_next_try_is_healed(desk: Bench) -> None:
    desk.fault("status", "PUT", status=503)
    desk.does(customer())
    desk.redis.zrem(keys.LATER, PARTY)  # claimed as due, and then death
    desk.sweep()

    assert ["created"] == desk.work()


@pytest.mark.parametrize(
    ("loses", "sweeps"), [(an_ending_started_and_died, 1), (never_queued, 4)]
)
def test_a_lost_job_is_found_however_many_wait_before_it(
    desk: Bench,
    monkeypatch: pytest.MonkeyPatch,
    loses: Callable[[Bench], None],
    sweeps: int,
) -> None:
    """A backlog must not blind the sweeper; what a dead worker held it finds at once."""
    monkeypatch.setattr(sweep, "BATCH", 30)
    for n in range(2, 152):
        fact = customer(f"cus_{n}", account=f"acme-{n}")
        accepted = desk.accept.facts("stripe", [fact])
        desk.queue.push(Claim(fact.party, accepted.claim), "x")
    loses(desk)
    assert 150 == desk.queue.depth()
    for _ in range(sweeps):
        desk.sweep()

    (found,) = (one for one in desk.queue.waiting() if one.startswith("stripe-cus_1-"))
    assert (151, True) == (desk.queue.depth(), found.startswith("stripe-cus_1-2"))


def test_one_worker_sweeps_at_a_time_and_another_once_it_left_or_died(
    desk: Bench,
) -> None:
    one, two = desk.sweeper, desk.another_sweeper("two")
    one.tick()
    two.tick()
    assert (True, False) == (one.leads(), two.leads())
    assert b"one" == desk.redis.get(keys.SWEEPER)

    one.leave()
    two.asked = one.asked  # a second later
    assert (True, False) == (two.leads(), one.leads())
    assert 0 < desk.redis.pttl(keys.SWEEPER) <= 4000
    desk.redis.delete(keys.SWEEPER)
    one.asked -= ASK
    assert one.leads()


def test_only_what_is_due_is_asked_for_four_times_a_second(desk: Bench) -> None:
    desk.sweeper.tick()

    assert ["EVALSHA"] == round_trips(desk.redis, desk.sweeper.tick)


def test_the_place_of_a_party_without_an_account_is_found_too(desk: Bench) -> None:
    desk.tell(customer(account=None))
    desk.popped()
    desk.sweep()

    assert ["held"] == desk.work()


def test_the_removal_of_an_account_left_is_found_too(desk: Bench) -> None:
    desk.rests(customer(), subscription(unit=100))
    desk.tell(customer(at=5, kind="updated", account="other"))
    desk.next()
    assert "vacated:acme" == desk.popped()
    desk.sweep()
    desk.work()

    assert {} == desk.traits("acme")
