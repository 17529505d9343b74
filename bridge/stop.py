"""An event that ends a process, and the signals that set it."""

from __future__ import annotations

import atexit
import math
import signal
import threading
from collections.abc import Callable
from time import monotonic

LOOK = 0.5
"""Most seconds until a signal that was not noticed by a wait ends it."""


class Stop(threading.Event):
    """An event that a signal's handler may set, whatever it interrupts.

    A plain one waits for a lock that the interrupted code may hold, so two signals close
    together, or one that meets a wait, would lock the process up for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told = False
        self._changed = threading.Condition(threading.RLock())

    def is_set(self) -> bool:
        return self._told

    def set(self) -> None:
        self._told = True
        with self._changed:
            self._changed.notify_all()

    def clear(self) -> None:
        self._told = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most so many seconds; return whether it is set."""
        end = math.inf if timeout is None else monotonic() + timeout
        with self._changed:
            # A signal between the look and the wait is not noticed by the wait.
            while not self._told and (left := end - monotonic()) > 0:
                self._changed.wait(min(left, LOOK))
        return self._told


def on_stop(act: Callable[[], object]) -> None:
    """Do *act* on SIGTERM and SIGINT, until Python ends the process.

    From there on they are ignored: Python would let one that comes again kill it, and so
    change its exit status.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: act())
        atexit.register(signal.signal, number, signal.SIG_IGN)


def stop_event() -> Stop:
    """Return an event that SIGTERM and SIGINT set from now on."""
    stop = Stop()
    on_stop(stop.set)
    return stop
