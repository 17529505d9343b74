"""The page of the benchmarks shows every goal, and says which of them are missed."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pytest

from tests.bench import report
from tests.bench.figure import Figure, figure
from tests.bench.report import GOALS, Goal
from tests.support.processes import ROOT

OTHERS = ("event", "RSS of web", "RSS of worker")
MS = [f"ms {kind}, {w}" for kind in report.KINDS for w in ("repeat", "new")]


@dataclass
class Page:
    """A page of figures that all are what their goals ask for, but for some."""

    changes: dict[str, Figure]

    @property
    def figures(self) -> dict[str, Figure]:
        named = {goal.name: figure([goal.limit]) for goal in GOALS}
        rest = {name: figure([0.25, 0.5, 1]) for name in (*OTHERS, *MS)}
        return named | rest | self.changes

    @property
    def text(self) -> str:
        return report.page(
            self.figures, chart="c.svg", machine="M.", budget="B.", accounts=7
        )

    def row(self, goal: Goal) -> str:
        return next(r for r in self.text.splitlines() if f"| {goal.words} |" in r)


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.name)
def test_a_figure_is_met_up_to_its_limit_and_missed_beyond(goal: Goal) -> None:
    beyond = goal.limit * 0.9 if goal.at_least else goal.limit * 1.1 + 1
    missed = Page({goal.name: figure([beyond])})

    assert Page({}).row(goal).endswith("| met |")
    assert missed.row(goal).endswith("| missed |")
    assert 1 == missed.text.count("| missed |")
    assert 1 == report.chart(missed.figures).count(", missed")


def test_a_row_shows_the_goal_the_median_and_the_middle_half() -> None:
    page = Page({"textbook, new": figure([2, 3, 4, 5, 60])})

    assert (
        "| Textbook's CPU ÷ ours, each customer new | ≥ 3.3 ×"  # noqa: RUF001
        " | **4.0 ×** (3.0 × to 5.0 ×) | met |"  # noqa: RUF001
    ) in page.text
    assert "| textbook, schema made once | 0.50 (0.38 to 0.75) |" in page.text


def test_some_parts_alone_are_some_rows() -> None:
    table = report.table({"limited": figure([2]), "drain": figure([95])})

    assert ["drain", "limited"] == [
        goal.name for goal in GOALS if f"| {goal.words} |" in table
    ]
    assert 2 == len(table.splitlines())


def test_a_bar_is_as_long_as_the_part_of_the_goal_that_is_used() -> None:
    shown = report.chart(Page({"writes": figure([100]), "drain": figure([1])}).figures)
    svg = ET.fromstring(shown)
    bars = [r for r in svg.iter("{http://www.w3.org/2000/svg}rect") if r.get("x")]
    widths = {g.name: int(b.get("width")) for g, b in zip(GOALS, bars, strict=True)}

    assert report.FULL == widths["web"]
    assert report.FULL // 2 == widths["writes"]
    assert round(report.FULL * report.MOST) == widths["drain"]
    assert 0 < widths["repeats"] < 5


def test_the_page_and_the_chart_of_the_last_run_have_every_goal() -> None:
    """Red? `make bench` writes them anew."""
    page = (ROOT / "deploy" / "benchmarks.md").read_text(encoding="utf-8")
    shown = (ROOT / "deploy" / "benchmarks.svg").read_text(encoding="utf-8")
    words = ["".join(t.itertext()) for t in ET.fromstring(shown).iter()]

    assert [] == [g for g in GOALS if f"| {g.words} | {g.said} | **" not in page]
    assert [] == [g for g in GOALS if g.words not in words]
