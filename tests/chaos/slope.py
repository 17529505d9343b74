"""Whether a series grows: the slope that half of all pairs of samples are above; pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple


class Growth(NamedTuple):
    """A series after its warm-up: from its *level* it has grown by *by* in all."""

    level: float
    by: float

    @property
    def share(self) -> float:
        """Growth in terms of the level."""
        return self.by / self.level if self.level else 0.0


def growth(instants: Sequence[float], values: Sequence[float]) -> Growth:
    """Fit a line that a few odd samples cannot move (Theil and Sen)."""
    pairs = combinations(zip(instants, values, strict=True), 2)
    slope = median((v2 - v1) / (t2 - t1) for (t1, v1), (t2, v2) in pairs)
    return Growth(median(values), slope * (instants[-1] - instants[0]))
