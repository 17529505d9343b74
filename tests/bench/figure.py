"""What one measurement found, and how its progress is told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import median, quantiles
from typing import NamedTuple


class Figure(NamedTuple):
    """The median of some samples, and the quarters below and above it."""

    middle: float
    low: float
    high: float

    @property
    def is_exact(self) -> bool:
        """True where there was one sample alone, or they were all the same."""
        return self.low == self.high


def figure(samples: Sequence[float]) -> Figure:
    """Return what *samples* say; one is enough."""
    if len(samples) == 1:
        return Figure(samples[0], samples[0], samples[0])
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return Figure(median(samples), low, high)


def say(words: str) -> None:
    """Tell how far the measuring is; the report alone goes to standard output."""
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
