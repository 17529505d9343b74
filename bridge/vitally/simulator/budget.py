"""The two rate limits that Vitally has documented: a token bucket, a sliding window.

Pure but for what they remember: every method takes the time, in seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from bridge.vitally.simulator.switches import Switches


class Budget(Protocol):
    """What a key may spend."""

    def take(self, cost: int, now: float) -> bool:
        """Spend *cost* units; False, and nothing spent, where there are too few."""

    def remaining(self, now: float) -> int:
        """Return the whole units that are left."""

    def reset(self, now: float) -> int:
        """Return the seconds of `RateLimit-Reset`."""


class TokenBucket:
    """Refills evenly; `RateLimit-Reset` is the time to the next unit (2026-07)."""

    def __init__(self, limit: int, seconds: float, now: float) -> None:
        self._limit = limit
        self._pace = limit / seconds
        self._units = float(limit)
        self._at = now

    def take(self, cost: int, now: float) -> bool:
        self._refill(now)
        if self._units < cost:
            return False
        self._units -= cost
        return True

    def remaining(self, now: float) -> int:
        self._refill(now)
        return int(self._units)

    def reset(self, now: float) -> int:
        self._refill(now)
        missing = 1 - self._units % 1
        return max(1, math.ceil(missing / self._pace))

    def _refill(self, now: float) -> None:
        self._units = min(self._limit, self._units + (now - self._at) * self._pace)
        self._at = now


class SlidingWindow:
    """Forgets what is older than the window; the edition of 2022 to 2026-04.

    `RateLimit-Reset` is the time until the earliest request leaves the window.
    """

    def __init__(self, limit: int, seconds: float, now: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._spent: deque[tuple[float, int]] = deque()

    def take(self, cost: int, now: float) -> bool:
        if self.remaining(now) < cost:
            return False
        self._spent.append((now, cost))
        return True

    def remaining(self, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - self._seconds:
            self._spent.popleft()
        return self._limit - sum(cost for _, cost in self._spent)

    def reset(self, now: float) -> int:
        earliest = self._spent[0][0] if self._spent else now
        return max(1, math.ceil(earliest + self._seconds - now))


_KINDS: Mapping[str, Callable[[int, float, float], Budget]] = {
    "bucket": TokenBucket,
    "window": SlidingWindow,
}


def budget(switches: Switches, now: float) -> Budget:
    """Return a full budget of the kind that *switches* say."""
    kind = _KINDS[switches.rate_mode]
    return kind(switches.rate_limit, switches.rate_seconds, now)
