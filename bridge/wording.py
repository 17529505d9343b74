"""Knows how counts, lengths of time, instants and our own commands read to people."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

MODULE = "python -m bridge"
"""Works wherever the packages are installed; all help texts use it."""

SCRIPT = "vitally-bridge"
"""The command that the wheel installs, and `make` puts into `.venv/bin`."""

UNITS = (
    (90, 1, "s"),
    (5400, 60, "min"),
    (129_600, 3600, "h"),
    (float("inf"), 86_400, "d"),
)
"""For each unit of time: seconds up to which it is used, its seconds, its name."""


def program() -> str:
    """What to type before a command's name, in the way this process was called."""
    return SCRIPT if Path(sys.argv[0]).name == SCRIPT else MODULE


def command(*words: str) -> str:
    """A command of ours as one types it: an id with a space in it is quoted."""
    return f"{program()} {shlex.join(words)}"


def count(number: int, one: str, more: str = "") -> str:
    """`1 event`, `2,000 events`; *more* is the plural where an s does not make it."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def ago(milliseconds: float) -> str:
    """A length of time a person can read."""
    seconds = milliseconds / 1000
    size, unit = next((size, unit) for end, size, unit in UNITS if seconds < end)
    return f"{seconds / size:.0f} {unit}"


def instant_of(text: str) -> int:
    """Milliseconds of an instant in ISO 8601 (UTC where it does not say); at least 1.

    Raises ValueError.
    """
    at = datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(1, int(at.timestamp() * 1000))


def moment(milliseconds: int) -> str:
    """An instant for people, in UTC; it accepts any number that a sender may have sent."""
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError):
        return f"{milliseconds} ms"
    return at.strftime("%Y-%m-%d %H:%M:%S")
