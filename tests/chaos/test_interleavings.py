"""A sample of `make interleavings`, and the search itself against playing every order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.interleaving import GatedRedis, Search
from tests.chaos.pairs import PAIRS, Bridge, explore
from tests.support.server import RedisServer
from tests.support.vitally import Simulator

SAMPLE = (
    *("accept-accept", "accept-sync", "sync-sync", "sync-sweep"),
    *("organize-sync", "complete-accept"),
)
"""The pairs that take a second or two."""


@pytest.fixture
def gated(redis_server: RedisServer) -> Iterator[GatedRedis]:
    client = GatedRedis(port=redis_server.port)
    yield client
    client.close()


@pytest.fixture(scope="module")
def vitally() -> Iterator[Simulator]:
    with Simulator() as made:
        yield made


@pytest.mark.parametrize("name", SAMPLE)
def test_every_order_of_a_pair_keeps_what_must_hold(
    gated: GatedRedis, vitally: Simulator, name: str
) -> None:
    found = explore(gated, vitally, PAIRS[name])
    assert ([], True) == (found.problems, found.schedules > 1)


@pytest.mark.parametrize("name", ["accept-sync", "complete-accept", "relink-sync"])
def test_the_search_finds_the_bug_that_was_put_in(
    gated: GatedRedis, vitally: Simulator, name: str
) -> None:
    found = explore(gated, vitally, PAIRS[name], seeded=True)
    assert any(one.startswith(PAIRS[name].shows) for one in found.problems), found


@pytest.mark.parametrize("name", PAIRS)
def test_the_bug_of_each_pair_can_still_be_put_in(name: str) -> None:
    with PAIRS[name].seed():
        pass


def test_contributing_names_every_pair() -> None:
    text = Path("CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [] == [name for name in PAIRS if f"`{name}`" not in text]


def test_orders_that_are_left_out_end_as_one_that_is_played(
    gated: GatedRedis, vitally: Simulator
) -> None:
    class Ends(Bridge):
        """Notes how each schedule ends, before anything comes to rest."""

        def end(self) -> Iterator[str]:
            party, waiting = self.desk.claim(), self.desk.queue.waiting()
            told = {
                k: v for k, v in party.items() if k not in {"claimed_at", "deliveries"}
            }
            ends.append(repr((sorted(told.items()), waiting)))
            return iter(())

    ends: list[str] = []
    bridge = Ends(gated, vitally, PAIRS["accept-sync"])
    few, every = (Search(bridge, reduced=reduced).run() for reduced in (True, False))
    assert {*ends[: few.schedules]} == {*ends[few.schedules :]}
    assert few.schedules < every.schedules
