"""When what this thread does must be over: each request of it gets only the rest."""

from __future__ import annotations

import time
from contextvars import ContextVar
from math import inf

UNTIL: ContextVar[float] = ContextVar("until", default=inf)
"""On the monotonic clock, in seconds."""


def left() -> float:
    """Seconds that are left; none or fewer: it is too late."""
    return UNTIL.get() - time.monotonic()
