"""The test of the test: each broken build goes red where the real one is green."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.broken import VARIANTS
from tests.chaos.scenarios import SCENARIOS, WORKERS, worlds
from tests.chaos.world import World

pytestmark = pytest.mark.broken

Make = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Make]:
    """Make the world of one build; it ends with the test."""
    made: list[World] = []

    def make(name: str, variant: str) -> World:
        processes = WORKERS.get(name, (1,))
        made.append(worlds(tmp_path, processes=processes, variant=variant))
        made[0].start()
        return made[0]

    yield make
    for one in made:
        one.end()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_broken_build_is_noticed(world: Make, name: str) -> None:
    scenario, invariant = SCENARIOS[name]
    found = scenario(world(name, name))

    assert invariant in {one.partition(":")[0] for one in found}, found


@pytest.mark.parametrize("name", VARIANTS)
def test_the_real_build_passes_the_same(world: Make, name: str) -> None:
    scenario, _ = SCENARIOS[name]

    assert [] == scenario(world(name, ""))
