"""A worker dies or pauses in each step of a job; the account is right all the same.

All steps at once, a worker for each: one other worker then has to heal all of them
within the time that the contract gives it for one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bridge.store.inspect import Figures
from tests.chaos.rest import come_to_rest
from tests.chaos.steps import NAMES, STEPS, Step, Victim, caught
from tests.support.desk import BETWEEN
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.chaos

RECOVERY = 15.0
"""Seconds within which what a dead worker held is taken up: the contract's."""

AWAKE = 2.0
"""Seconds in which a worker that wakes has done what it was about to do."""

BY_NAME = {step.name: step for step in STEPS}
SLEEPERS = tuple(
    BY_NAME[name]
    for name in (
        "before the request, marked as unconfirmed",
        "in the update, lost on its way",
        "in the update, late on its way",
        "in the creation, missing",
        "in the creation, late on its way",
    )
)
"""The steps from which a worker that wakes may still write."""


class Healed(NamedTuple):
    """What became of all victims' accounts, by step.

    *took*: seconds until each was right, *settled* until nothing was left to do;
    *right* and *found*: each one's `mrr` in the end.
    """

    took: Mapping[str, float]
    settled: float
    right: Mapping[str, Any]
    found: Mapping[str, Any]
    figures: Figures
    creations: Sequence[str]
    overlaps: Sequence[Mapping[str, Any]]
    between: int


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

    eventually(healed, 2 * RECOVERY, what="the healing of all victims")
    return took, time.monotonic() - begun


def in_the_end(
    stack: Stack,
    victims: list[Victim],
    right: Mapping[str, Any],
    took: Mapping[str, float],
    settled: float,
) -> Healed:
    return Healed(
        took,
        settled,
        right,
        {victim.step.name: mrr(stack, victim) for victim in victims},
        stack.figures(),
        stack.creations(),
        stack.overlaps(),
        stack.redis.llen(BETWEEN),
    )


def kill_all(folder: Path) -> Healed:
    """Kill every victim; nothing more is heard of its account."""
    with Stack(folder) as stack, caught(stack) as victims:
        right = {v.step.name: "none" if v.step.new else 49 for v in victims}
        for victim in victims:
            victim.running.kill()
        took, settled = heal(stack, victims, right)
        return in_the_end(stack, victims, right, took, settled)


def pause_all(folder: Path, *, steps: Sequence[Step] = STEPS, long: bool) -> Healed:
    """Let every victim sleep beyond its lease, and do then what it was about to do.

    Meanwhile a newer event of its account has been taken and written; where they
    sleep *long* the second look, which follows a doubtful write, is over as well.
    """
    with Stack(folder) as stack, caught(stack, steps) as victims:
        stripe = stack.stripe()
        for victim in victims:
            change = victim.shop.begins if victim.step.new else victim.shop.changes
            assert 202 == stripe.post(change(quantity=2)).status
        right = {victim.step.name: 98 for victim in victims}
        took, settled = heal(stack, victims, right)
        if long:
            come_to_rest(stack)
        for victim in victims:
            victim.wake()
        time.sleep(AWAKE)
        come_to_rest(stack)
        return in_the_end(stack, victims, right, took, settled)


Result = Callable[[str], Healed]

WAYS: Mapping[str, Callable[[Path], Healed]] = {
    "killed": kill_all,
    "paused": partial(pause_all, long=False),
    "slept": partial(pause_all, steps=SLEEPERS, long=True),
}


@pytest.fixture(scope="module")
def healed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    """What became of all victims of a way; each way is gone once."""
    with ThreadPoolExecutor(1) as pool:
        gone = cache(lambda way: pool.submit(WAYS[way], tmp_path_factory.mktemp(way)))
        yield lambda way: gone(way).result()


@pytest.mark.parametrize("step", NAMES)
@pytest.mark.parametrize("way", ["killed", "paused"])
def test_what_a_worker_held_there_is_taken_up_in_time(
    healed: Result, way: str, step: str
) -> None:
    seen = healed(way)

    assert seen.took[step] <= RECOVERY
    assert seen.right[step] == seen.found[step], "no older write stands"


def test_a_worker_that_wakes_after_the_second_look_leaves_no_older_write(
    healed: Result,
) -> None:
    seen = healed("slept")

    assert seen.right == seen.found


@pytest.mark.parametrize("way", ["killed", "paused"])
def test_nothing_is_lost_or_done_twice_by_it(healed: Result, way: str) -> None:
    seen = healed(way)
    told = len(NAMES) + sum(not step.new for step in STEPS)
    newer = len(NAMES) if way == "paused" else 0

    assert seen.settled <= RECOVERY
    assert seen.figures.received == seen.figures.settled == told + newer
    assert [] == seen.overlaps
    assert len(NAMES) == len(set(seen.creations)) == len(seen.creations)
    assert 0 == seen.between
