"""The page of the benchmarks shows every goal, and says which of them are missed."""

from __future__ import annotations

import pytest

from tests.bench import events
from tests.bench.report import GOALS, Figure, Goal, figure, page, table
from tests.support.processes import ROOT

OTHERS = (
    "event",
    "plain",
    "objects",
    "whole",
    "batches",
    *(f"ms {kind}" for kind in ("bridge", "empty", "textbook", "once")),
)


def text(**changes: Figure) -> str:
    """The page of figures that all are what their goals ask for, but for *changes*."""
    figures = {goal.name: figure([goal.limit]) for goal in GOALS}
    figures |= {name: figure([0.25, 0.5, 1]) for name in OTHERS} | changes
    return page(figures, machine="M.", accounts=7, waiting=9)


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.name)
def test_a_figure_is_met_up_to_its_limit_and_missed_beyond(goal: Goal) -> None:
    beyond = goal.limit * 0.9 if goal.at_least else goal.limit * 1.1 + 1
    missed = text(**{goal.name: figure([beyond])})

    assert len(GOALS) == text().count("| met |")
    assert goal.row(figure([beyond])) in missed.splitlines()
    assert 1 == missed.count("| missed |")


def test_a_row_shows_the_goal_the_median_and_the_middle_half() -> None:
    assert (
        "| CPU of an event of a month ÷ an empty Flask view | ≤ 3.0 ×"  # noqa: RUF001
        " | **4.0 ×** (3.0 × to 5.0 ×) | missed |"  # noqa: RUF001
    ) == table({"empty": figure([2, 3, 4, 5, 60])})


def test_the_page_of_the_last_run_says_the_goals_of_today() -> None:
    """Red? `make bench` writes it anew."""
    shown = (ROOT / "deploy" / "benchmarks.md").read_text(encoding="utf-8")
    rows = [row.split(" | ")[:2] for row in shown.splitlines() if row.endswith("ed |")]
    goals = [goal.row(figure([1])).split(" | ")[:2] for goal in GOALS]

    assert [] == [row for row in rows if row not in goals]


def test_most_of_a_month_is_of_no_concern() -> None:
    told = [e for moments in events.months(3) for e in events.in_turn(moments)]
    concern = [e for e in told if e["type"].startswith("customer.")]

    assert len({e["id"] for e in told}) == len(told)
    assert 0.2 < len(concern) / len(told) < 0.4
    assert all(len(one) > 4000 for one in events.requests(told[-9:]))
