"""A worker dies or pauses in each step of a job; the account is right all the same.

All steps at once, a worker for each: one other worker then has to heal all of them
within the time that the contract gives it for one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from bridge.store import keys
from tests.chaos.steps import NAMES, Victim, caught
from tests.support.desk import BETWEEN
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.chaos

RECOVERY = 15.0
"""Seconds within which what a dead worker held is taken up: the contract's."""

LATE = 60.0
"""Seconds within which all is at rest, the look after a doubtful write included."""


class Healed(NamedTuple):
    """What became of all victims' accounts.

    *took*: seconds until each was right, *settled* until nothing was left to do;
    *found*: each one's `mrr` in the end.
    """

    stack: Stack
    took: Mapping[str, float]
    settled: float
    found: Mapping[str, Any]


def mrr(stack: Stack, victim: Victim) -> Any:
    account = stack.vitally.account(victim.shop.id)
    return account and account["traits"].get("mrr", "none")


def heal(
    stack: Stack, victims: list[Victim], right: Mapping[str, Any]
) -> tuple[dict[str, float], float]:
    """Give all to one healthy worker; when each account was right, and all settled."""
    begun = time.monotonic()
    stack.worker()
    took: dict[str, float] = {}

    def healed() -> bool:
        for victim in victims:
            name = victim.step.name
            if name not in took and right[name] == mrr(stack, victim):
                took[name] = time.monotonic() - begun
        seen = stack.figures()
        return len(took) == len(victims) and not (seen.dirty or seen.pending)

    eventually(healed, 2 * RECOVERY, what=f"all victims; now {took}")
    return took, time.monotonic() - begun


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Healed]:
    """Every victim is killed; nothing more is heard of its account."""
    with Stack(tmp_path_factory.mktemp("killed")) as stack, caught(stack) as victims:
        right = {v.step.name: "none" if v.step.new else 49 for v in victims}
        for victim in victims:
            victim.running.kill()
        took, settled = heal(stack, victims, right)
        found = {v.step.name: mrr(stack, v) == right[v.step.name] for v in victims}
        yield Healed(stack, took, settled, found)


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Healed]:
    """Every victim sleeps beyond its lease, wakes, and does what it was about to do.

    Meanwhile a newer event of its account has been taken and written.
    """
    with Stack(tmp_path_factory.mktemp("paused")) as stack, caught(stack) as victims:
        stripe = stack.stripe()
        for victim in victims:
            os.kill(victim.running.pid, signal.SIGSTOP)
        for victim in victims:
            shop = victim.shop
            begins = victim.step.new
            stripe.post(shop.begins(quantity=2) if begins else shop.changes(quantity=2))
        took, settled = heal(stack, victims, dict.fromkeys(NAMES, 98))
        for victim in victims:
            victim.let_go()
            os.kill(victim.running.pid, signal.SIGCONT)
        eventually(lambda: not stack.redis.zcard(keys.LATER), LATE, what="a last look")
        stack.settled()
        found = {victim.step.name: mrr(stack, victim) for victim in victims}
        yield Healed(stack, took, settled, found)


@pytest.mark.parametrize("step", NAMES)
def test_a_worker_that_is_killed_there_leaves_it_to_another(
    killed: Healed, step: str
) -> None:
    assert killed.took[step] <= RECOVERY


def test_a_worker_that_pauses_there_and_wakes_leaves_no_older_write(
    paused: Healed,
) -> None:
    assert dict.fromkeys(NAMES, 98) == paused.found


@pytest.mark.parametrize("step", NAMES)
def test_what_a_paused_worker_held_is_taken_up(paused: Healed, step: str) -> None:
    assert paused.took[step] <= RECOVERY


@pytest.mark.parametrize("which", ["killed", "paused"])
def test_nothing_is_lost_or_done_twice_by_it(
    request: pytest.FixtureRequest, which: str
) -> None:
    seen: Healed = request.getfixturevalue(which)
    now = seen.stack.figures()
    new = NAMES.index  # noqa
    assert seen.settled <= RECOVERY
    assert now.received == now.accepted == now.settled
    assert [] == seen.stack.overlaps()
    assert sorted(set(seen.stack.creations())) == sorted(seen.stack.creations())
    assert 0 == seen.stack.redis.llen(BETWEEN)


def test_print(killed, paused, capsys):
    with capsys.disabled():
        for n in NAMES:
            print(
                n,
                round(killed.took.get(n), 1),
                round(paused.took[n], 1),
                paused.found[n],
            )
        print(killed.settled, paused.settled)
        for s in (killed, paused):
            st = s.stack
            print(st.figures())
            print(st.redis.keys("rq:*"))
