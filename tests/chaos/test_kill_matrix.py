"""A worker dies or pauses in each step of a job; the account is right all the same.

All steps at once, a worker for each: one other worker then has to heal all of them
within the time that the contract gives it for one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bridge.store import keys
from tests.chaos.steps import NAMES, Victim, caught
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.chaos

RECOVERY = 15.0
"""Seconds within which what a dead worker held is taken up: the contract's."""


class Seen(NamedTuple):
    """What became of all victims: *took* are the seconds until each account was right."""

    stack: Stack
    took: dict[str, float]
    found: dict[str, Any]
    wanted: dict[str, Any]


def mrr(stack: Stack, victim: Victim) -> Any:
    account = stack.vitally.account(victim.shop.id)
    return account and account["traits"].get("mrr", "none")


def wanted(victim: Victim) -> Any:
    return "none" if victim.step.new else 49


def heal(stack: Stack, victims: list[Victim], expected: dict[str, Any]) -> Seen:
    """Give it to one healthy worker, and see how long each account takes."""
    begun = time.monotonic()
    stack.worker()
    took: dict[str, float] = {}
    while len(took) < len(victims) and time.monotonic() < begun + RECOVERY + 5:
        for victim in victims:
            name = victim.step.name
            if name not in took and mrr(stack, victim) == expected[name]:
                took[name] = round(time.monotonic() - begun, 1)
        time.sleep(0.05)
    found = {victim.step.name: mrr(stack, victim) for victim in victims}
    return Seen(stack, took, found, expected)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Every victim killed at once; nothing more is told about its account."""
    with Stack(tmp_path_factory.mktemp("killed")) as stack, caught(stack) as victims:
        for victim in victims:
            victim.running.kill()
        seen = heal(stack, victims, {v.step.name: wanted(v) for v in victims})
        for victim in victims:
            victim.let_go()
        yield seen


@pytest.mark.parametrize("step", NAMES)
def test_a_worker_that_is_killed_there_leaves_it_to_another(killed: Seen, step) -> None:
    assert killed.wanted[step] == killed.found[step]
    assert killed.took[step] <= RECOVERY


def test_print(killed, capsys):
    with capsys.disabled():
        for n in NAMES:
            print(n, killed.took.get(n), killed.found[n])
        time.sleep(3)
        st = killed.stack
        print(st.figures())
        print(st.redis.keys("rq:*"))
        print(st.overlaps(), len(st.creations()), len(set(st.creations())))
        print(st.redis.zrange(keys.LATER, 0, -1, withscores=True))
