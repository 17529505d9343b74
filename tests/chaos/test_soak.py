"""An hour of load: every account is right in the end, and nothing has grown.

`make soak` takes MINUTES=60 RATE=50; ten minutes are the least that says anything.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.log import Log
from tests.chaos.plan import Plan
from tests.chaos.rest import come_to_rest
from tests.chaos.slope import Growth, growth
from tests.chaos.soak import HEAD, Sample, Traffic, overlaps, sample
from tests.chaos.world import World

MINUTES = float(os.environ.get("SOAK_MINUTES", "60"))
RATE = float(os.environ.get("SOAK_RATE", "50"))
EVERY = float(os.environ.get("SOAK_EVERY", "60"))
"""Seconds between two samples."""

WARM = 0.2
"""Part of the time that is no part of what is judged."""

MOST = {"web": 0.03, "worker": 0.03, "redis": 0.03, "keys": 0.02}
"""What each may have grown by after the warm-up, in terms of its level."""

Say = Callable[[object], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def written(line: object) -> None:
        with capsys.disabled():
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    return written


@pytest.fixture
def world(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[World]:
    path = pytestconfig.cache.mkdir("chaos") / "soak.jsonl"
    with Log(path, Plan(1, MINUTES * 60, [], [])) as log:
        made = World(tmp_path, log.saw)
        made.stack.vitally.turn(rate_limit=1_000_000)
        made.start()
        yield made
        made.end()


def sampled(world: World, say: Say) -> list[Sample]:
    """A sample every so often until the time is over; each is shown."""
    begun, samples = time.monotonic(), []
    say(f"\n{HEAD}")
    while time.monotonic() < begun + MINUTES * 60:
        time.sleep(EVERY)
        samples.append(sample(world, begun))
        assert 0 == overlaps(world)
        say(samples[-1])
    return samples


def grown(samples: list[Sample]) -> dict[str, Growth]:
    judged = samples[int(len(samples) * WARM) :]
    at = [one.at for one in judged]
    return {name: growth(at, [getattr(one, name) for one in judged]) for name in MOST}


@pytest.mark.soak
def test_after_hours_of_load_all_is_right_and_nothing_has_grown(
    world: World, say: Say
) -> None:
    traffic = Traffic(world)
    traffic.begin()
    running = threading.Thread(target=traffic.run, args=(RATE,))
    running.start()
    try:
        found = grown(sampled(world, say))
    finally:
        traffic.over.set()
        running.join()
    for name, one in found.items():
        say(f"{name:>8} {one.level:13.0f} grew by {one.by:11.0f} ({one.share:+.2%})")
    world.vitally.mend()
    world.stack.vitally.mend()
    for link in world.links.values():
        link.mend()
    come_to_rest(world.stack, 120)

    accounts = {a["externalId"]: a["traits"] for a in world.stack.vitally.accounts()}
    assert traffic.mrr == {id_: accounts[id_].get("mrr") for id_ in traffic.mrr}
    assert [] == world.problems
    assert {} == {name: g for name, g in found.items() if g.share > MOST[name]}


def test_a_slope_is_not_moved_by_a_few_odd_samples() -> None:
    at = list(range(20))
    flat = [100.0 + n % 2 for n in at]
    odd = [*flat[:10], 500.0, *flat[11:15], 0.0, *flat[16:]]
    rising = [100.0 + 2 * n + 5 * (n % 3) for n in at]

    assert abs(growth(at, flat).share) < 0.01
    assert abs(growth(at, odd).share) < 0.02
    assert growth(at, rising).share > 0.25
