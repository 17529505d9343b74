"""An id that was used again: which of the things that had it is meant."""

from __future__ import annotations

from itertools import permutations

import pytest

from bridge.domain.catalogue import generations, there_at
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.fold import History, State, compact, fold


def told(
    at: int, created: int | None = None, *, rank: int = 2, deleted: bool = False
) -> Fact:
    """What an event told *at* of a coupon made when *created*; None: it did not say."""
    thing = "coupon:save" if created is None else f"coupon:save@{created}"
    value = {"percent": str(at)}
    value |= {} if created is None else {"created": created}
    value |= {"deleted": True} if deleted else {}
    event = f"evt_{at}_{created}_{rank}"
    return Fact("catalogue:x", thing, Stamp(False, at, rank), event, "k", value, event)


def states(facts: list[Fact]) -> list[State]:
    return list(fold(compact(History(facts))).values())


OLD = [told(10, 10, rank=Rank.CREATED), told(20, 10, deleted=True)]
NEW = [told(30, 30, rank=Rank.CREATED), told(35, 30)]


EVER = told(5)


@pytest.mark.parametrize(
    ("facts", "began", "seen", "expected"),
    [
        ([], None, 99, []),
        ([told(15)], 1, 99, [15]),
        ([told(15, deleted=True)], 15, 99, [15]),
        ([told(15, deleted=True)], 16, 99, []),
        ([told(15, rank=Rank.CREATED)], 14, 99, []),
        ([told(15, rank=Rank.CREATED)], 15, 99, [15]),
        ([*OLD, *NEW], 9, 99, []),
        ([*OLD, *NEW], 10, 99, [10]),
        ([*OLD, *NEW], 20, 99, [10]),
        ([*OLD, *NEW], 21, 99, []),
        ([*OLD, *NEW], 30, 99, [30]),
        ([*OLD, *NEW], 99, 99, [30]),
        ([*OLD, *NEW], None, 9, []),
        ([*OLD, *NEW], None, 29, [10]),
        ([*OLD, *NEW], None, 30, [10, 30]),
        # The next one ends the one before, whose deletion was not seen.
        ([OLD[0], *NEW], 30, 99, [10, 30]),
        ([OLD[0], *NEW], 31, 99, [30]),
        ([EVER, *NEW], 1, 99, [5]),
        ([EVER, *NEW], 31, 99, [30]),
        # A deletion that does not say of which is that of the last.
        ([OLD[0], told(20, deleted=True), *NEW], 21, 99, []),
        ([*OLD, NEW[0], told(40, deleted=True)], 40, 99, [30]),
        ([*OLD, NEW[0], told(40, deleted=True)], 41, 99, []),
    ],
)
def test_each_creation_is_a_thing_until_it_is_deleted_or_the_next_is_made(
    facts: list[Fact], began: int | None, seen: int, expected: list[int]
) -> None:
    """Things are called by their creation, else by when they were told."""
    for order in permutations(facts):
        there = generations(states(list(order)), seen, began)

        assert expected == [
            one[0].value.get("created", one[0].fact.stamp.at) for one in there
        ]


@pytest.mark.parametrize(
    ("seen", "expected"), [(9, None), (10, "20"), (29, "20"), (30, "35"), (99, "35")]
)
def test_a_name_is_the_newest_of_what_was_there(
    seen: int, expected: str | None
) -> None:
    found = there_at(states([*OLD, *NEW]), seen)

    assert expected == (found and found.value["percent"])
