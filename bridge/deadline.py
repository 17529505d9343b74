"""When what this thread does must be over: each request of it gets only the rest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

UNTIL: ContextVar[float] = ContextVar("until", default=inf)
"""On the monotonic clock, in seconds."""


def left() -> float:
    """Seconds that are left; none or fewer: it is too late."""
    return UNTIL.get() - time.monotonic()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give what is done inside so many *seconds*, and no more than were left anyway."""
    whole = UNTIL.set(min(UNTIL.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        UNTIL.reset(whole)
