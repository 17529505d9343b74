"""The counting adds up at every moment, whatever happens in whatever order."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from redis import Redis

from bridge.domain.account import unite
from bridge.domain.document import document
from bridge.domain.facts import Fact
from bridge.store import keys
from bridge.vitally.replies import Rate
from tests.support.desk import NOON, Bench, bench, customer, link, subscription
from tests.support.waiting import eventually

FAULTS = ("status", "reset_before", "reset_after_commit", "truncated")
REFUSED: dict[str, Any] = {"status": 400, "body": {"error": "no"}, "times": 2}

Counts = tuple[int, int, int, int]


@pytest.fixture
def desk(redis: Redis) -> Iterator[Bench]:
    with bench(redis) as made:
        made.vitally.turn(rate_limit=1_000_000)
        made.throttle.learn(Rate(1_000_000, 1_000_000))
        yield made


def counts(desk: Bench) -> Counts:
    """Settled, pending, held and parked, after they were found to add up."""
    figures = desk.check()
    return figures.settled, figures.pending, figures.held, figures.parked


@pytest.mark.parametrize(
    ("fault", "rounds"),
    [
        ({}, [([customer()], (0, 1, 0, 0), (1, 0, 0, 0))]),
        (
            {},
            [
                ([customer(account=None), subscription()], (0, 2, 0, 0), (0, 0, 2, 0)),
                ([link("cus_1", "acme")], (0, 1, 2, 0), (3, 0, 0, 0)),
            ],
        ),
        (
            REFUSED,
            [
                ([customer()], (0, 1, 0, 0), (0, 0, 0, 1)),
                (
                    [customer(at=5, kind="updated", account=None)],
                    (0, 1, 0, 1),
                    (0, 0, 2, 0),
                ),
            ],
        ),
    ],
    ids=["settled", "held, then linked", "parked, then without an account"],
)
def test_events_go_from_pending_to_where_they_belong(
    desk: Bench,
    fault: dict[str, Any],
    rounds: Sequence[tuple[list[Fact], Counts, Counts]],
) -> None:
    if fault:
        desk.fault("status", "PUT", **fault)
    for facts, before, after in rounds:
        desk.tell(*facts)
        assert before == counts(desk)
        desk.work()
        assert after == counts(desk)

    assert 0 == desk.redis.zcard(keys.PARKED)


def test_a_party_that_no_longer_waits_keeps_no_count_of_it(desk: Bench) -> None:
    desk.does(customer(account=None))
    desk.redis.hset(keys.party("stripe:cus_1"), "parked", 0)  # as 1.0 wrote it
    desk.rests(link("cus_1", "acme"))

    assert (2, 0, 0, 0) == counts(desk)
    assert not {b"held", b"parked"} & {*desk.redis.hkeys(keys.party("stripe:cus_1"))}


def test_the_events_of_both_parties_are_parked_with_their_account(desk: Bench) -> None:
    desk.rests(customer(), customer("cus_2"))
    desk.fault("status", "PUT", **REFUSED)
    desk.tell(subscription(), subscription("cus_2", "sub_2"))
    desk.next()

    assert (2, 0, 0, 2) == counts(desk)


def test_what_arrives_during_a_write_stays_pending(desk: Bench) -> None:
    desk.fault("delay", "POST", seconds=0.4)
    desk.tell(customer(), customer("cus_2"))
    running = threading.Thread(target=desk.jobs.run, args=(desk.popped(),))
    running.start()
    # What came before the job has read the facts would be written by it.
    eventually(lambda: "POST" in dict(desk.writes()), what="a creation")
    came = 0
    while running.is_alive():
        came += 1
        # Not by `tell`, which checks the counting: it may change in the middle of a check.
        for fact in (subscription(at=came), subscription("cus_2", "sub_2", at=came)):
            desk.accept.facts("stripe", [fact])
        running.join(0.05)

    # The account of the other party was not known when this one was written.
    assert (1, 2 * came + 1, 0, 0) == counts(desk)


def shaken(desk: Bench, chance: random.Random) -> None:
    """One step of a life in which everything happens."""
    name, at = chance.choice(["cus_1", "cus_2", "cus_3"]), chance.randrange(50)

    def renamed(**more: Any) -> None:
        desk.tell(customer(name, at=at, kind="updated", **more))

    sub = subscription(name, f"sub_{name}", at=at, unit=at)
    steps: tuple[Callable[[], object], ...] = (
        renamed,
        lambda: renamed(account=chance.choice(["a", "b"])),
        lambda: renamed(account=None),
        lambda: desk.tell(link(name, chance.choice([None, "a", "c"]), at=at)),
        lambda: desk.tell(sub),
        lambda: desk.take(sub),
        lambda: desk.fault(chance.choice(FAULTS), "PUT"),
        lambda: desk.fault("status", "*", status=chance.choice([400, 404, 429, 503])),
        desk.pop,
        desk.work,
        desk.work,
        lambda: desk.passes(chance.choice([100, 3000, 40_000])),
        lambda: desk.redis.delete(*desk.redis.keys(keys.lease("*")) or ["none"]),
        desk.sweep,
    )
    chance.choice(steps)()
    desk.check()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_the_counting_adds_up_and_the_end_is_right(
    desk: Bench, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        shaken(desk, chance)
    desk.vitally.mend()
    for raw in desk.redis.zrange(keys.PARKED, 0, -1):
        desk.queue.push_all(desk.leases.claim("by hand", raw.decode()), "by hand")
    for _ in range(12):
        desk.sweep()
        desk.sweeper.probe()
        desk.passes(100_000)
        desk.work()

    settled, pending, held, parked = counts(desk)
    assert (0, 0, set()) == (pending, parked, desk.dirty())
    assert settled + held == desk.check().accepted
    for account in ("acme", "a", "b", "c"):
        there = desk.vitally.account(account)
        assert wanted(desk, account) == (there["traits"] if there else {}), account
    owed = desk.redis.keys(keys.account("*"))
    assert [None] * len(owed) == [desk.redis.hget(key, "doubt") for key in owed]


def wanted(desk: Bench, account: str) -> dict[str, Any]:
    """What the facts of an account's parties say, folded anew."""
    parties = desk.look.members_of(account)
    members = [desk.look.member(party).party({}) for party in parties]
    policy = desk.context.config.policy
    traits = document(unite(account, members), policy, NOON).traits
    return {trait: value for trait, value in traits.items() if value is not None}
