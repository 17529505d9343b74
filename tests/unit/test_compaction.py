"""What compaction drops, no later fact can make matter again; and little is left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, Retained, compact, fold
from tests.support.lives import (
    START,
    Story,
    account_of,
    by_party,
    law,
    stories,
    wild_facts,
)

MANY = 10_000

TraceFunction = Callable[[FrameType, str, Any], Any]


def united(history: History, more: Iterable[Fact]) -> History:
    return History([*history.facts, *more], history.retained)


def content(history: History) -> tuple[set[tuple[str, str]], dict[str, Retained]]:
    """A past without the order of its facts."""
    return {(f.thing, f.event) for f in history.facts}, dict(history.retained)


def split(data: st.DataObject, facts: list[Fact]) -> tuple[list[Fact], list[Fact]]:
    """Any part of *facts*, and the rest."""
    chosen = data.draw(
        st.lists(st.booleans(), min_size=len(facts), max_size=len(facts))
    )
    return (
        [f for f, take in zip(facts, chosen, strict=True) if take],
        [f for f, take in zip(facts, chosen, strict=True) if not take],
    )


# --- Laws ---------------------------------------------------------------------


@law(500)
@given(wild_facts(12), st.data())
def test_a_compacted_past_folds_alike_whatever_arrives_later(
    facts: list[Fact], data: st.DataObject
) -> None:
    early, late = split(data, facts)

    assert fold(History(facts)) == fold(united(compact(History(early)), late))


@law(300)
@given(wild_facts(12), st.data())
def test_any_grouping_of_facts_folds_alike(
    facts: list[Fact], data: st.DataObject
) -> None:
    early, late = split(data, facts)
    middle, last = split(data, late)

    history = compact(united(compact(History(early)), middle))

    assert fold(History(facts)) == fold(united(history, [*last, *middle]))
    assert (
        content(compact(History(facts)))[0]
        == content(compact(united(history, last)))[0]
    )


@law()
@given(wild_facts(12))
def test_compaction_of_what_is_compact_drops_nothing(facts: list[Fact]) -> None:
    history = compact(History(facts))

    assert content(history) == content(compact(history))


@law()
@given(wild_facts(12))
def test_compaction_makes_nothing_up(facts: list[Fact]) -> None:
    assert set(map(id, facts)) >= set(map(id, compact(History(facts)).facts))


@law()
@given(stories(), st.data())
def test_an_account_is_the_same_from_compacted_pasts(
    story: Story, data: st.DataObject
) -> None:
    early, late = split(data, list(story.facts))
    before = {party: compact(History(own)) for party, own in by_party(early).items()}
    both = {
        party: united(before.get(party, History([])), by_party(late).get(party, []))
        for party in by_party(story.facts)
    }

    plain = {party: History(own) for party, own in by_party(story.facts).items()}

    assert account_of(plain) == account_of(both)


def step(after: str, before: str | None, n: int, rank: int = 2) -> Fact:
    """The event *n* of one second."""
    value = {"status": "active", "name": after}
    stamp = Stamp(False, START, rank)
    return Fact("x:1", "t", stamp, f"evt_{n}", "k", value, after, before)


def later(seconds: int, status: str, before: str | None = None) -> Fact:
    """A snapshot of another second."""
    told = step(f"{seconds}{status}", before, seconds)
    at = START + seconds * 1000
    return told._replace(stamp=Stamp(False, at, 2), value={"status": status})


LIFE = [(5, "active"), (7, "unpaid"), (9, "unpaid"), (11, "unpaid")]


def test_a_spell_of_unpaid_begins_after_what_was_paid_even_for_a_late_event() -> None:
    kept = compact(History([later(s, w) for s, w in LIFE]))

    assert START + 7000 == fold(kept)["t"].unpaid_since
    assert START + 7000 == fold(united(kept, [later(3, "unpaid")]))["t"].unpaid_since


def test_a_round_trip_begins_with_the_newest_of_what_was_before() -> None:
    older = [later(-9, "first"), later(-5, "second")]
    begin = older[1].after
    trip = [step("x", begin, 1), step(begin, "x", 2)]

    for facts in ([*older, *trip], [*compact(History(older)).facts, *trip]):
        state = fold(History(facts))["t"]
        assert (begin, False) == (state.fact.after, state.ambiguous)
        assert state == fold(compact(History(facts)))["t"]


def test_a_step_that_was_told_twice_stays_doubtful() -> None:
    """Canceled, taken back and perhaps canceled again."""
    facts = [step("b", "a", n) for n in range(5)]
    facts += [step("a", "b", 9), step("a", None, 0, 0)._replace(event="evt_born")]

    history = compact(compact(History(facts)))

    assert fold(History(facts)) == fold(history)
    assert fold(history)["t"].ambiguous


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_creation_that_others_repeat_is_kept_as_the_beginning(rank: int) -> None:
    facts = [step("a", None, 1, 0), *(step("a", None, n, rank) for n in range(2, 6))]

    early = compact(History(facts))
    state = fold(united(early, [step("b", "a", 8), step("a", "b", 7)]))["t"]

    assert ("a", False) == (state.value["name"], state.ambiguous)


# --- What is left ---------------------------------------------------------------


def fact(at: int, after: str, before: str | None, n: int, status: str) -> Fact:
    value = {"status": status, "name": after}
    stamp = Stamp(status == "canceled", START + at * 1000, 2)
    return Fact(
        "x:1", "subscription:sub_1", stamp, f"evt_{n}", "k", value, after, before
    )


def toggles(count: int) -> list[Fact]:
    """One second in which a subscription goes to and fro between three states."""
    names = "abc"
    return [
        fact(1, names[(n + 1) % 3], names[n % 3], n, "active") for n in range(count)
    ]


def trail(count: int) -> list[Fact]:
    """One second in which every event changes something."""
    return [fact(1, f"s{n + 1}", f"s{n}", n, "active") for n in range(count)]


def echoes(count: int) -> list[Fact]:
    """One second in which every change is told by two events."""
    told = trail(count // 2)
    return [*told, *(f._replace(event=f"{f.event}_again") for f in told)]


def years(count: int) -> list[Fact]:
    """Events of many seconds, paid and unpaid in turn."""
    words = ("active", "unpaid")
    return [fact(n, f"s{n}", f"s{n - 1}", n, words[n // 7 % 2]) for n in range(count)]


def test_of_a_long_life_little_is_left() -> None:
    history = compact(History(years(MANY)))
    (retained,) = history.retained.values()

    assert len(history.facts) == 2
    assert len(retained.unpaid) <= 7
    assert {"active", "unpaid"} == retained.seen


def test_of_one_busy_second_the_distinct_steps_are_left() -> None:
    history = compact(History([fact(0, "a", None, MANY, "active"), *toggles(MANY)]))

    assert len(history.facts) <= 2 * 3 + 1


def test_of_an_ended_subscription_one_fact_is_left() -> None:
    history = compact(History([*years(50), fact(99, "end", None, 99, "canceled")]))

    assert ["end"] == [f.after for f in history.facts]


def test_of_a_short_life_no_joins_are_needed() -> None:
    history = compact(History([fact(1, "a", None, 1, "active")]))

    assert {} == history.retained


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python *work* runs: a measure of time that no machine moves."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> TraceFunction:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("tell", [toggles, trail, echoes])
@pytest.mark.parametrize("work", [fold, compact])
def test_four_times_the_events_of_one_second_are_about_four_times_the_work(
    work: Callable[[History], object], tell: Callable[[int], list[Fact]]
) -> None:
    few, many = (History(tell(count)) for count in (200, 800))

    assert lines_run(lambda: work(many)) <= 6 * lines_run(lambda: work(few))
