"""What a customer's month is told in: steps, and short ways to write them.

A day is a number: 3.5 is noon of the month's fourth day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bridge.demo.stripe import Rendering

DAYS = 30
"""Length of the month; it ended at the last midnight (UTC)."""

DATES = ("nextRenewalDate", "cancelAt", "churnedAt", "trialEndDate")
"""Traits whose expected value is a day."""


class Step(NamedTuple):
    """What happens on a *day*, in words and as an event.

    *event* is the last part of its type, *of* the subscription (`1`, `2`, ...),
    `customer` or `invoice`; *now* holds what is new about it.
    """

    day: float
    of: str
    event: str
    words: str
    now: Mapping[str, Any] = {}


class Life(NamedTuple):
    """One customer: its *account* in Vitally, its *steps*, and the traits expected.

    A trait that is not in *expected* must not be there, unless it is in *stays*: one
    that can no longer be known keeps the value that was written, if one was.
    """

    account: str
    name: str
    rendering: Rendering
    steps: tuple[Step, ...]
    expected: Mapping[str, Any]
    stays: Mapping[str, Any] = {}


def signs_up(day: float, name: str) -> Step:
    return Step(day, "customer", "created", "signs up", {"name": name})


def begins(day: float, of: str, words: str, **now: Any) -> Step:
    return Step(day, of, "created", words, now)


def changes(day: float, of: str, words: str, **now: Any) -> Step:
    return Step(day, of, "updated", words, now)


def pays(day: float) -> Step:
    return Step(day, "invoice", "paid", "pays")


def reminded(day: float) -> Step:
    return Step(day, "1", "trial_will_end", "is told that the trial ends soon")


def ends(day: float, of: str, words: str, asked: float | None = None) -> Step:
    """An end; *asked* is the day on which it was asked for."""
    at = day if asked is None else asked
    now = {"status": "canceled", "canceled_at": at, "ended_at": day}
    return Step(day, of, "deleted", words, now)
