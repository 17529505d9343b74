"""Every class of faults is made by a row of the table, or it is said where and why not."""

from __future__ import annotations

import pytest

from tests.chaos.faults import FAULTS, ROWS
from tests.chaos.log import Log, read
from tests.chaos.matrix import CLASSES
from tests.chaos.plan import draw
from tests.support.processes import ROOT


def test_no_two_rows_have_one_name() -> None:
    assert len(ROWS) == len(FAULTS)


def test_every_row_is_of_a_class() -> None:
    assert {row.covers for row in ROWS} <= CLASSES.keys()
    assert [f"F{n}" for n in range(1, 24)] == list(CLASSES)


@pytest.mark.parametrize("number", CLASSES)
def test_a_class_is_tried_by_a_row_or_by_another_test(number: str) -> None:
    rows = [row.name for row in ROWS if row.covers == number]
    elsewhere = CLASSES[number].elsewhere

    assert rows or elsewhere
    assert [] == [name for name in elsewhere if not (ROOT / "tests" / name).is_file()]


def test_a_seed_is_a_plan_and_nothing_else() -> None:
    assert draw(7, 25) == draw(7, 25)
    assert draw(7, 25) != draw(8, 25)


def test_a_few_short_runs_play_every_row() -> None:
    played = {action.do for seed in (1, 2) for action in draw(seed, 25).actions}

    assert set() == FAULTS.keys() - played


def test_a_plan_is_played_from_its_log(tmp_path) -> None:
    plan = draw(3, 25)
    with Log(tmp_path / "log", plan) as log:
        for action in plan.actions:
            log.action(action)
        log.saw("the end", problems=[])
    again = read(tmp_path / "log")

    assert plan._replace(actions=[]) == again._replace(actions=[])
    assert [(a.do, a.using) for a in plan.actions] == [
        (a.do, a.using) for a in again.actions
    ]
