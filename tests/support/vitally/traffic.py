"""The request log: who wrote what and when, and whether two writes overlapped.

A write begins when its first line has arrived and ends when it is answered or when
its client has closed the connection, whichever comes first. `overlap` is exact; the
instants are as exact as threads are woken, a few milliseconds under load.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any


@dataclass(slots=True)
class Entry:
    """One request; instants in monotonic milliseconds, the same for all processes.

    *committed* is when its effect was there, None where it had none. *overlap* tells
    that another write of the same account was in flight when this one began.
    """

    n: int
    method: str
    path: str
    account: str | None
    body: Any
    started: float
    committed: float | None = None
    ended: float | None = None
    status: int | None = None
    remaining: int | None = None
    cost: int = 0
    overlap: bool = False
    fault: str | None = None


class Traffic:
    """The log of one simulator; threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: list[Entry] = []
        self._open: dict[int, tuple[Entry, Callable[[], bool]]] = {}

    def begin(
        self,
        entry_of: Callable[[int], Entry],
        *,
        writes: bool,
        gone: Callable[[], bool],
    ) -> Entry:
        """Log a request; *gone* tells whether its client has closed the connection."""
        with self._lock:
            entry = entry_of(len(self._entries) + 1)
            self._entries.append(entry)
            # A thread that was woken late may meet a request long given up, when the
            # next one is in flight already: that is no overlap.
            if writes and entry.account is not None and not gone():
                entry.overlap = self._in_flight(entry.account)
                self._open[id(entry)] = (entry, gone)
            return entry

    def end(self, entry: Entry) -> None:
        """Note that a request is over; only the first time counts."""
        with self._lock:
            self._end(entry)

    def entries(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests after number *since*, in order."""
        with self._lock:
            return [_shown(entry) for entry in self._entries[since:]]

    def forget(self) -> None:
        """Empty the log."""
        with self._lock:
            self._entries.clear()
            self._open.clear()

    def _in_flight(self, account: str) -> bool:
        # Asked here and not only by the thread that waits: a client that has closed
        # its connection may begin the next write before that thread wakes up.
        for entry, gone in list(self._open.values()):
            if entry.account == account and gone():
                self._end(entry)
        return any(entry.account == account for entry, _ in self._open.values())

    def _end(self, entry: Entry) -> None:
        if entry.ended is None:
            entry.ended = monotonic_ms()
        self._open.pop(id(entry), None)


def _shown(entry: Entry) -> dict[str, Any]:
    return {field.name: getattr(entry, field.name) for field in fields(Entry)}


def monotonic_ms() -> float:
    """Return the monotonic clock in milliseconds."""
    return time.monotonic() * 1000
