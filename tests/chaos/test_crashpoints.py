"""Every crash point is counted, some are struck each day, and broken builds are found.

`make crashpoints` strikes at all of them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.chaos.broken import FOR_CRASHES
from tests.chaos.crashpoints import STORIES, Theatre, table
from tests.support import docs
from tests.support.fate import LOST, Fate
from tests.support.processes import ROOT

SAMPLE = 60
"""One of so many is struck; another one each day."""

TODAY = int(time.time() // 86_400)

FOUND = {
    "clean_at_begin": ("update", "I6"),
    "lease_for_ever": ("update", "I6"),
    "unmarked": ("update", "I2"),
    "place_first": ("backfill", "I2"),
    "read_first": ("reconcile", "I2"),
    "up_to_first": ("complete", "I1"),
    "dedupe_first": ("accept", "I1"),
    "no_sweep": ("update", "I6"),
    "difference_after_doubt": ("update", "I2"),
}
"""Broken build -> the story in which a death shows it, and what it breaks there."""


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("theatre")) as one:
        yield one


def test_the_page_has_every_crash_point(theatre: Theatre) -> None:
    """Red? A call came or went: `make format`, and `make crashpoints` strikes at it."""
    calls = {story: theatre.calls(story) for story in STORIES}
    page = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")

    assert docs.REGION.format("crashpoints", table(calls)) in page


@pytest.mark.parametrize("story", STORIES)
def test_all_is_right_after_a_crash(theatre: Theatre, story: str) -> None:
    struck = theatre.struck(story, SAMPLE, TODAY)

    assert [] == [str(one) for one in struck if one.wrong]


def test_a_reading_that_redis_interrupts_is_not_over(theatre: Theatre) -> None:
    before = theatre.calls("reconcile").index("sweeper: vitally GET") - 1

    assert [] == theatre.play("reconcile", Fate(before, LOST))


def test_each_broken_build_has_its_story() -> None:
    assert FOR_CRASHES.keys() <= FOUND.keys()


@pytest.mark.broken
@pytest.mark.parametrize("variant", FOUND)
def test_a_broken_build_does_not_survive_its_crashes(variant: str) -> None:
    story, broken = FOUND[variant]
    words = ["--story", story, "--variant", variant]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.chaos.crashpoints", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == ended.returncode, ended.stderr
    assert f"{broken}:" in ended.stdout
