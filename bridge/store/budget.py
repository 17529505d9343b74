"""What Vitally's rate limit means for the work that waits; pure."""

from __future__ import annotations

LIMIT = 1000
"""Units a minute that Vitally allows unless its replies say otherwise."""

COST = 10
"""Units that a write is taken to cost before a reply has shown it."""


def drained_in(writes: int, units: float, cost: float) -> float:
    """Seconds that *writes* take at *units* a minute, where each costs *cost* of them.

    At least one a minute, as the throttle allows. What was saved up in the minute
    before makes it up to a minute less.
    """
    return 60 * writes / max(1, units // cost)
