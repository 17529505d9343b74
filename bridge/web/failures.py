"""How long those wait who fail to prove who they are: a wrong signature or password.

The limits hold in one process. A right signature or password never waits, so nobody
can lock its owner out.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

WAIT = "bridge.wait"
"""Key in a request's environ: seconds to delay the answer, without blocking a thread."""

FIRST = 0.1
"""Seconds that the first answer is delayed that is delayed at all, doubled each time."""

WINDOW = 60.0
"""Seconds after the first failure, until which failures count together."""

ADDRESSES = 4096
"""Most addresses that are kept; the one that was heard of longest ago is forgotten."""

LONGEST_ADDRESS = 64


def address(environ: Mapping[str, Any]) -> str:
    """Return who asks: the last hop of `X-Forwarded-For`, else the peer.

    A platform's router adds that hop. Without one before us the sender may write it; then
    only what counts for all addresses together slows him down.
    """
    hops = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    return str(hops or environ.get("REMOTE_ADDR", ""))[:LONGEST_ADDRESS]


@dataclass(slots=True)
class Failed:
    """The failures of one address, or of all; *next* is when the next answer may go."""

    since: float = float("-inf")
    count: int = 0
    next: float = float("-inf")

    def is_over(self, now: float) -> bool:
        """Whether nothing of it counts any more."""
        return now - self.since > WINDOW and self.next <= now


class Failures:
    """Failures by address, and in all.

    Of one address *free* failures a minute are answered at once, and of all together
    *free_in_all*. The answers after that go one behind another with growing gaps of at
    most *gap* seconds, so that more connections gain nothing, but none waits more than
    *longest*.
    """

    def __init__(
        self,
        free: int,
        free_in_all: int,
        gap: float,
        longest: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._free, self._free_in_all = free, free_in_all
        self._gap, self._longest = gap, longest
        self._clock, self._lock = clock, Lock()
        self._all = Failed()
        self._by_address: OrderedDict[str, Failed] = OrderedDict()
        self._slowed, self._told = 0, float("-inf")

    def wait(self, address: str) -> float:
        """Note a failure; return how many seconds its answer waits."""
        with self._lock:
            now, rows = self._clock(), self._by_address.values()
            while rows and next(iter(rows)).is_over(now):
                self._by_address.popitem(last=False)
            own = self._by_address.setdefault(address, Failed())
            self._by_address.move_to_end(address)
            if len(self._by_address) > ADDRESSES:
                self._by_address.popitem(last=False)
            wait = max(
                self._behind(own, self._free, now),
                self._behind(self._all, self._free_in_all, now),
            )
            self._slowed += wait > 0
            return wait

    def __len__(self) -> int:
        """How many addresses are kept."""
        return len(self._by_address)

    def slowed(self, every: float = 0.0) -> int:
        """Return how many answers had to wait since this was last told.

        0 while that is less than *every* seconds ago.
        """
        with self._lock:
            if (now := self._clock()) - self._told < every:
                return 0
            slowed, self._slowed, self._told = self._slowed, 0, now
            return slowed

    def _behind(self, row: Failed, free: int, now: float) -> float:
        if now - row.since > WINDOW:
            row.since, row.count = now, 0
        row.count += 1
        if row.count <= free:
            return 0.0
        gap = min(self._gap, FIRST * 2 ** min(row.count - free - 1, 10))
        row.next = min(max(now, row.next) + gap, now + self._longest)
        return row.next - now
