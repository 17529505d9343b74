"""Draws counters over time: where the lines, labels and marks of an SVG stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import ceil, log10
from typing import NamedTuple

WIDTH, HEIGHT = 640, 150
LEFT, TOP, BOTTOM = 40, 12, 22
"""Pixels around the lines."""

POINTS = 160
"""Most points of a line; the counts of neighbours are averaged."""

MINUTE_MS, HOUR_MS = 60_000, 3_600_000

Counter = Sequence[tuple[int, int]]
"""(instant in ms, total so far), in their order."""


class Chart(NamedTuple):
    """*lines* are SVG points by name; labels stand at x (*times*, *marks*) or y (*values*).

    *most* is the largest number a minute of each line, and *last* the latest.
    """

    lines: Mapping[str, str]
    times: Sequence[tuple[float, str]]
    values: Sequence[tuple[float, str]]
    marks: Sequence[tuple[float, str]]
    most: Mapping[str, float]
    last: Mapping[str, float]


def chart(
    counters: Mapping[str, Counter], marks: Iterable[tuple[int, str]], now: int
) -> Chart:
    """Draw how much the *counters* grew a minute, up to *now* (ms)."""
    rates = {name: rate(counter) for name, counter in counters.items()}
    begin = min((row[0][0] for row in rates.values() if row), default=now)
    begin = min(begin, now - HOUR_MS)
    top = _nice(max((n for row in rates.values() for _, n in row), default=0.0))

    def x(at: int) -> float:
        return round(LEFT + (WIDTH - LEFT) * (at - begin) / (now - begin), 1)

    def y(number: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * number / top, 1)

    step = HOUR_MS * max(1, ceil((now - begin) / HOUR_MS / 6))
    if now - begin <= 2 * HOUR_MS:
        step = 15 * MINUTE_MS
    hours = range(begin - begin % step + step, now, step)
    return Chart(
        {
            name: " ".join(f"{x(at)},{y(number)}" for at, number in row)
            for name, row in rates.items()
        },
        [(x(at), f"{datetime.fromtimestamp(at / 1000, UTC):%H:%M}") for at in hours],
        [(y(part), f"{part:,g}") for part in (0, top / 2, top)],
        [(x(at), text) for at, text in marks if begin <= at <= now],
        {name: max((n for _, n in row), default=0.0) for name, row in rates.items()},
        {name: row[-1][1] if row else 0.0 for name, row in rates.items()},
    )


def rate(counter: Counter) -> list[tuple[int, float]]:
    """How much a counter grew a minute, up to each instant; at most POINTS."""
    every = max(1, ceil(len(counter) / POINTS))
    some = [*counter[:-1:every], *counter[-1:]]
    return [
        (at, round((total - before) * MINUTE_MS / (at - since), 2))
        for (since, before), (at, total) in pairwise(some)
        if at > since and total >= before
    ]


def _nice(most: float) -> float:
    """A round number that is not below *most*, for the top of an axis."""
    if most <= 2:  # noqa: PLR2004 - so that its half is a whole number
        return 2.0
    size = 10.0 ** int(log10(most))
    return next(n * size for n in (1, 2, 4, 6, 8, 10) if n * size >= most)
