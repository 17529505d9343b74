"""Failures wait by address and in all, for a while, and are forgotten."""

from __future__ import annotations

import pytest

from bridge.web.failures import ADDRESSES, Failures, address


class Clock:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def waits(failures: Failures, *addresses: str) -> list[float]:
    return [round(failures.wait(one), 3) for one in addresses]


def test_an_address_waits_longer_each_time_until_its_minute_is_over() -> None:
    clock = Clock()
    failures = Failures(2, 100, gap=1.0, longest=10.0, clock=clock)
    seen = []
    for _ in range(8):
        seen += waits(failures, "a")
        clock.now += seen[-1]

    assert [0.0, 0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0] == seen
    assert 6 == failures.slowed()
    assert 0 == failures.slowed()
    assert [0.0] == waits(failures, "b")
    clock.now += 61
    assert [0.0, 0.0, 0.1] == waits(failures, "a", "a", "a")


def test_many_at_once_wait_one_behind_another_and_not_for_ever() -> None:
    failures = Failures(0, 10**6, gap=1.0, longest=10.0, clock=Clock())
    seen = waits(failures, *["a"] * 100)

    assert sorted(seen) == seen
    assert 10.0 == max(seen)


def test_many_addresses_wait_together_and_the_oldest_is_forgotten() -> None:
    failures = Failures(1, ADDRESSES + 2, gap=1.0, longest=10.0, clock=Clock())
    seen = waits(failures, "a", *map(str, range(ADDRESSES)), "a", "a")

    assert [0.0] * (ADDRESSES + 2) + [0.1] == seen


def test_an_address_is_forgotten_once_its_minute_is_over_and_its_wait_too() -> None:
    clock = Clock()
    failures = Failures(0, 10**6, gap=200.0, longest=200.0, clock=clock)
    waits(failures, "a", *["slow"] * 12)
    clock.now += 61
    waits(failures, "b")

    assert 2 == len(failures)  # the one that still waits, and the new one
    clock.now += 200
    waits(failures, "c")
    assert 1 == len(failures)


@pytest.mark.parametrize(
    ("environ", "who"),
    [
        ({"REMOTE_ADDR": "192.0.2.1"}, "192.0.2.1"),
        ({"REMOTE_ADDR": "::1", "HTTP_X_FORWARDED_FOR": "a, 192.0.2.9 "}, "192.0.2.9"),
        ({"REMOTE_ADDR": "::1", "HTTP_X_FORWARDED_FOR": "x" * 99}, "x" * 64),
        ({"REMOTE_ADDR": "::1", "HTTP_X_FORWARDED_FOR": ""}, "::1"),
    ],
)
def test_an_address_is_the_hop_that_the_router_added(
    environ: dict[str, str], who: str
) -> None:
    assert who == address(environ)
