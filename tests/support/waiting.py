"""Waiting for a condition, with a deadline instead of a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

POLL_SECONDS = 0.02

PATIENCE = 60.0
"""Seconds: a test of what happens, not of how fast, may run on a busy machine."""


def eventually(
    check: Callable[[], Found], within: float = PATIENCE, *, what: str = ""
) -> Found:
    """Return the first true value of *check*, asked again and again.

    An AssertionError or OSError of *check* counts as "not yet". After *within*
    seconds the last such error is raised, else AssertionError; *what* says what was
    waited for.
    """
    deadline = time.monotonic() + within
    while True:
        error: Exception | None = None
        try:
            found = check()
            if found:
                return found
        except (AssertionError, OSError) as not_yet:
            error = not_yet
        if time.monotonic() >= deadline:
            raise error or AssertionError(f"not within {within:g} s: {what or check}")
        time.sleep(POLL_SECONDS)
