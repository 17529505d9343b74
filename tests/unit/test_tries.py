"""How long the answers to wrong passwords wait."""

from __future__ import annotations

import logging

import pytest

from bridge.web.console.tries import LONGEST, Tries


class Clock:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_each_wrong_one_waits_longer() -> None:
    clock = Clock()
    tries = Tries(clock)
    waits = []
    for _ in range(6):
        waits.append(tries.wrong())
        clock.now += waits[-1]

    assert [0.1, 0.2, 0.4, 0.8, 1.0, 1.0] == [pytest.approx(wait) for wait in waits]


def test_many_at_once_wait_one_behind_another_and_not_for_ever() -> None:
    tries = Tries(Clock())
    waits = [tries.wrong() for _ in range(100)]

    assert sorted(waits) == waits
    assert LONGEST == max(waits)


def test_after_a_minute_of_peace_the_next_is_the_first_again() -> None:
    clock = Clock()
    tries = Tries(clock)
    for _ in range(50):
        tries.wrong()
    clock.now += 61

    assert pytest.approx(0.1) == tries.wrong()


def test_one_line_a_second_tells_how_many(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "bridge.web")
    clock = Clock()
    tries = Tries(clock)
    for _ in range(25):
        tries.wrong()
        clock.now += 0.125

    assert [{"tries": 1}, {"tries": 9}, {"tries": 17}, {"tries": 25}] == [
        record.__dict__["fields"] for record in caplog.records
    ]
