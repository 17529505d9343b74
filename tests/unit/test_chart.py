"""A chart's lines are what a counter grew a minute, within the picture."""

from __future__ import annotations

import pytest

from bridge.web.console.chart import HEIGHT, POINTS, WIDTH, chart, rate

NOW = 1_800_000_000_000
MINUTE = 60_000


def counter(*totals: int, every: int = MINUTE) -> list[tuple[int, int]]:
    begin = NOW - every * len(totals)
    return [(begin + n * every, total) for n, total in enumerate(totals)]


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ([], []),
        ([5], []),
        ([5, 9], [4]),
        ([5, 9, 9, 12], [4, 0, 3]),
        ([50, 9, 12], [3]),  # Redis was emptied in between
    ],
)
def test_a_rate_is_what_was_counted_a_minute(
    totals: list[int], expected: list[float]
) -> None:
    assert expected == [number for _, number in rate(counter(*totals))]


def test_a_gap_is_an_average_and_a_day_has_few_points() -> None:
    assert [2.5] == [n for _, n in rate(counter(0, 5, every=2 * MINUTE))]
    day = rate(counter(*range(0, 1440 * 7, 7)))

    assert 100 < len(day) <= POINTS
    assert {7} == {number for _, number in day}


@pytest.mark.parametrize("totals", [[], [0, 0], [0, 3], [0, 100_000, 150_000]])
def test_everything_stands_within_the_picture(totals: list[int]) -> None:
    marks = [(NOW - MINUTE, "deploy"), (NOW - 99 * 3_600_000, "long ago")]
    drawn = chart({"some": counter(*totals), "none": []}, marks, NOW)
    points = [tuple(map(float, p.split(","))) for p in drawn.lines["some"].split()]

    assert max(0, len(totals) - 1) == len(points)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert all(0 <= x <= WIDTH for x, _ in (*drawn.times, *drawn.marks))
    assert ["deploy"] == [text for _, text in drawn.marks]
    assert "" == drawn.lines["none"]
    assert 3 == len(drawn.values)
