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


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([], []),
        ([told(15)], [(None, None)]),
        ([told(15, deleted=True)], [(None, 15)]),
        ([told(15, rank=Rank.CREATED)], [(15, None)]),
        (OLD, [(10, 20)]),
        ([*OLD, *NEW], [(10, 20), (30, None)]),
        ([OLD[0], *NEW], [(10, 30), (30, None)]),
        ([told(5), *NEW], [(None, 30), (30, None)]),
        ([OLD[0], told(20, deleted=True), *NEW], [(10, 20), (30, None)]),
        ([*OLD, NEW[0], told(40, deleted=True)], [(10, 20), (30, 40)]),
    ],
)
def test_each_creation_is_a_thing_until_it_is_deleted_or_the_next_is_made(
    facts: list[Fact], expected: list[tuple[int | None, int | None]]
) -> None:
    for order in permutations(facts):
        found = [(one.created, one.gone) for one in generations(states(list(order)))]

        assert expected == found


@pytest.mark.parametrize(
    ("begun", "seen", "expected"),
    [
        (9, 99, []),
        (10, 99, [10]),
        (20, 99, [10]),
        (21, 99, []),
        (30, 99, [30]),
        (99, 99, [30]),
        (None, 9, []),
        (None, 29, [10]),
        (None, 30, [10, 30]),
    ],
)
def test_what_began_at_an_instant_is_of_what_was_there(
    begun: int | None, seen: int, expected: list[int]
) -> None:
    found = generations(states([*OLD, *NEW]))

    assert expected == [one.created for one in found if one.may_be(begun, seen)]


@pytest.mark.parametrize(
    ("seen", "expected"), [(9, None), (10, "20"), (29, "20"), (30, "35"), (99, "35")]
)
def test_a_name_is_the_newest_of_what_was_there(
    seen: int, expected: str | None
) -> None:
    found = there_at(states([*OLD, *NEW]), seen)

    assert expected == (found and found.value["percent"])
