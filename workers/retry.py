"""When a failed write is tried again: a table, and pure functions over it."""

from __future__ import annotations

from typing import NamedTuple

GIVE_UP_MS = 3 * 86_400_000
"""A change that could not be delivered for three days is parked."""

FIRST_MS = 1000
MOST_MS = 15 * 60_000

CONFIRM_MS = 30_000
"""After a doubtful write: how long it may still be on its way."""

CRASH_MS = 5000
"""After an exception that nobody foresaw; a second one at the same facts parks them."""

LONG_MS = 500
"""A job that took longer rests before the next of the same party, so that a large
account that keeps changing leaves room for others."""

MOST_REST_MS = 10_000

DAILY_MS = 86_400_000
"""How often an account that Vitally does not have is looked for again."""

CROWDED_MS = 1000
"""While as many parties are read from a source as may be in a second."""

SECOND_MS = 1000
"""After a second that was not over yet when something was read."""

REFRESH_MS, REFUSED_REFRESH_MS = 60_000, 3_600_000
"""After a refresh that failed, and one that the source refused."""

PACES_MS = (0, 1000, 2000, 5000)
"""Least time between writes of one account that keeps changing: at once, then these."""


class Wait(NamedTuple):
    """Try again after *delay_ms*; *tries* failed since *since* (ms)."""

    delay_ms: int
    tries: int
    since: int


class GiveUp(NamedTuple):
    """Park the change: it failed for too long."""

    days: int


def after_failure(tries: int, since: int, now: int, chance: float) -> Wait | GiveUp:
    """Full jitter: anything up to twice as long after each try (*chance* in 0..1)."""
    since = since or now
    if now - since >= GIVE_UP_MS:
        return GiveUp(GIVE_UP_MS // 86_400_000)
    ceiling = min(MOST_MS, FIRST_MS * 2 ** min(tries, 20))
    return Wait(max(250, int(ceiling * chance)), tries + 1, since)


def after_limit(retry_after: float | None) -> int:
    """Milliseconds to leave Vitally alone after a 429 (`retry_after` in seconds)."""
    seconds = 2.0 if retry_after is None else min(max(retry_after, 0.05), 600.0)
    return int(seconds * 1000)


def pace_wait(pace: int, wrote_at: int, now: int) -> int:
    """Milliseconds before an account may be written again."""
    return max(0, wrote_at + PACES_MS[min(pace, len(PACES_MS) - 1)] - now)


def next_pace(pace: int, wrote_at: int, now: int) -> int:
    """The pace after a write: slower while it keeps changing, fresh after a rest."""
    rest = 2 * max(PACES_MS[min(pace, len(PACES_MS) - 1)], PACES_MS[1])
    if not wrote_at or now - wrote_at > rest + PACES_MS[-1]:
        return 1
    return min(pace + 1, len(PACES_MS) - 1)


def rest(took_ms: int, pace: int) -> int:
    """Milliseconds between two long jobs of one party: twice as long as the first took.

    Not before it may be written again at its *pace*: that would be work for nothing.
    """
    return max(min(2 * took_ms, MOST_REST_MS), PACES_MS[pace])


def after_refresh(retry_after: float | None, *, refused: bool) -> int:
    """Milliseconds until a party is refreshed again (`retry_after` in seconds)."""
    if refused:
        return REFUSED_REFRESH_MS
    return REFRESH_MS if retry_after is None else after_limit(retry_after)
