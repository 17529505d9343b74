"""What was lost between Redis and a worker is found and queued again, and no more."""

from __future__ import annotations

from time import monotonic

from bridge.store import keys
from tests.support.desk import (
    BETWEEN,
    QUEUE,
    Bench,
    customer,
    subscription,
)
from tests.support.waiting import eventually

STARTED = "rq:wip:bridge"


def test_a_claim_that_nobody_queued_is_queued(desk: Bench) -> None:
    desk.take(customer())
    desk.sweep()

    assert ["stripe-cus_1-2"] == desk.queue.waiting()
    assert ["created"] == desk.work()


def test_a_job_that_vanished_is_replaced(desk: Bench) -> None:
    desk.tell(customer())
    assert desk.pop() is not None
    desk.redis.delete("rq:job:stripe-cus_1-1")
    desk.sweep()

    assert ["stripe-cus_1-2"] == desk.queue.waiting()
    assert ["created"] == desk.work()


def test_a_job_stuck_between_two_lists_is_replaced_and_removed(desk: Bench) -> None:
    desk.tell(customer())
    desk.redis.lmove(QUEUE, BETWEEN, "LEFT", "RIGHT")
    desk.sweep()

    assert ["stripe-cus_1-2"] == desk.queue.waiting()
    assert 0 == desk.redis.llen(BETWEEN)
    assert 0 == desk.redis.exists("rq:job:stripe-cus_1-1")


def test_a_started_job_without_a_lease_is_replaced_and_removed(desk: Bench) -> None:
    desk.tell(customer())
    job = desk.pop()
    assert job is not None
    job.set_status("started")
    desk.redis.zadd(STARTED, {f"{job.id}:execution": 2**40})
    desk.sweep()

    assert ["stripe-cus_1-2"] == desk.queue.waiting()
    assert 0 == desk.redis.exists("rq:job:stripe-cus_1-1")


def test_a_job_whose_account_is_leased_is_left_alone(desk: Bench) -> None:
    desk.tell(customer())
    job = desk.pop()
    desk.leases.move("stripe:cus_1", "acme")
    assert job is not None
    assert desk.leases.take("acme", "stripe:cus_1") is not None
    desk.sweep()

    assert 0 == desk.queue.depth()


def test_a_job_that_waits_in_the_list_is_left_alone_however_long(desk: Bench) -> None:
    desk.tell(customer())
    for _ in range(3):
        desk.sweep(3_600_000)

    assert ["stripe-cus_1-1"] == desk.queue.waiting()


def test_a_party_that_waits_for_its_next_try_is_left_alone(desk: Bench) -> None:
    desk.fault("status", "PUT", status=503)
    desk.tell(customer())
    assert ["retried"] == desk.work()
    desk.leases.postpone("stripe:cus_1", 60_000)
    desk.sweep()

    assert 0 == desk.queue.depth()
    assert "coalesced" == desk.tell(subscription()).receipt
    desk.passes(61_000)
    assert ["created"] == desk.work()


def test_a_job_on_its_way_gets_its_time(desk: Bench) -> None:
    desk.take(customer())
    desk.sweeper.sweep()
    desk.sweeper.sweep()

    assert 0 == desk.queue.depth()


def test_what_is_settled_is_no_business_of_the_sweeper(desk: Bench) -> None:
    desk.tell(customer())
    desk.work()
    desk.sweep()

    assert 0 == desk.queue.depth()


def test_a_death_between_claim_and_job_of_a_next_try_is_healed(desk: Bench) -> None:
    desk.fault("status", "PUT", status=503)
    desk.tell(customer())
    desk.work()
    desk.redis.zrem(keys.LATER, "stripe:cus_1")  # claimed as due, and then death
    desk.sweep()

    assert ["created"] == desk.work()


def test_a_lost_job_is_found_however_many_wait_before_it(desk: Bench) -> None:
    """A backlog must not blind the sweeper: the end of a subscription overtakes it."""
    for n in range(600):
        fact = customer(f"cus_{n}", account=f"acme-{n}")
        taken = desk.accept.facts("stripe", [fact])
        desk.queue.push(fact.party, taken.claim, "x")
    desk.tell(subscription("cus_x", status="canceled", kind="deleted"))
    lost = desk.pop()
    assert lost is not None
    assert "stripe:cus_x" == lost.args[0]
    desk.sweep()

    assert "stripe-cus_x-2" in desk.queue.waiting()


def test_revived_within_a_few_seconds_of_real_time(desk: Bench) -> None:
    desk.take(customer())
    began = monotonic()

    eventually(lambda: desk.sweeper.tick() or desk.queue.depth(), 8)

    assert 7 > monotonic() - began


def test_one_worker_sweeps_at_a_time(desk: Bench) -> None:
    two = desk.another_sweeper("two")
    desk.sweeper.tick()
    two.tick()

    assert (True, False) == (desk.sweeper.leads(), two.leads())
    assert b"one" == desk.redis.get(keys.SWEEPER)


def test_another_sweeps_once_the_first_has_left(desk: Bench) -> None:
    two = desk.another_sweeper("two")
    desk.sweeper.tick()
    desk.sweeper.leave()

    assert two.leads()
    assert not desk.sweeper.leads()


def test_another_sweeps_a_few_seconds_after_the_first_died(desk: Bench) -> None:
    two = desk.another_sweeper("two")
    desk.sweeper.tick()

    assert 0 < desk.redis.pttl(keys.SWEEPER) <= 4000
    desk.redis.delete(keys.SWEEPER)
    assert two.leads()


def test_a_repeat_of_the_sweep_queues_nothing_twice(desk: Bench) -> None:
    desk.take(customer())
    desk.sweep()
    desk.sweep()

    assert ["stripe-cus_1-2"] == desk.queue.waiting()


def test_the_place_of_a_party_without_an_account_is_found_too(desk: Bench) -> None:
    desk.tell(customer(account=None))
    assert desk.pop() is not None
    desk.sweep()

    assert ["held"] == desk.work()


def test_the_removal_of_an_account_left_is_found_too(desk: Bench) -> None:
    desk.tell(customer(), subscription(unit=100))
    desk.work()
    desk.passes(60_000)
    desk.tell(customer(at=5, kind="updated", account="other"))
    job = desk.pop()
    assert job is not None
    desk.jobs.run(job.args[0])
    lost = desk.pop()
    assert lost is not None
    assert "vacated:acme" == lost.args[0]
    desk.sweep()
    desk.work()

    assert {} == desk.traits("acme")
