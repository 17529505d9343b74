"""Kills, stalls and lies, drawn from a seed: whatever was answered 2xx is right.

`make chaos SEED=7 SECONDS=60` plays a seed, `make chaos REPLAY=…/seed-7.jsonl` the log
of a run that went wrong.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.chaos.log import read
from tests.chaos.plan import Plan, draw
from tests.chaos.play import play

pytestmark = pytest.mark.chaos

SECONDS = float(os.environ.get("CHAOS_SECONDS", "25"))
SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEED", "1").split(",")]
REPLAY = os.environ.get("CHAOS_REPLAY")


PLANS = [read(Path(REPLAY))] if REPLAY else [draw(seed, SECONDS) for seed in SEEDS]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"seed {plan.seed}")
def test_whatever_breaks_nothing_that_was_taken_is_lost(
    plan: Plan,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = pytestconfig.cache.mkdir("chaos") / f"seed-{plan.seed}.jsonl"
    with capsys.disabled():
        sys.stdout.write(f"\nchaos: seed {plan.seed}, {plan.seconds:g} s, {path} ")

    assert [] == play(plan, tmp_path, path)
