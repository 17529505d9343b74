"""Where the steps of one instant lead, and when that is in doubt."""

from __future__ import annotations

from itertools import permutations

from bridge.domain.tie_break import Step, end_of, is_doubtful


def step(before: str | None, after: str, n: int, rank: int = 2) -> Step:
    return Step(0, rank, f"evt_{n}", before, after)


def test_one_step_of_many_that_may_have_been_taken_twice_is_enough_for_doubt() -> None:
    there_and_back = [step("a", "b", 1), step("a", "b", 2), step("b", "a", 3)]
    onward = [step("b", "c", 4), step("b", "c", 5)]

    assert is_doubtful([*there_and_back, *onward])
    assert not is_doubtful(onward)


def test_what_no_step_touches_is_beaten_by_the_strongest_step() -> None:
    steps = [step("a", "b", 1, rank=2), step("b", "c", 2, rank=3)]

    for rank, end in ((1, "c"), (2, "c"), (3, None)):
        beside = step(None, "x", 9, rank)
        found = {end_of(list(o), []) for o in permutations([*steps, beside])}
        assert {end} == found
