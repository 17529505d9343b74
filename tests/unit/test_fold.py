"""A set of facts is one state, whatever order it came in, and little of it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import (
    History,
    Retained,
    State,
    Step,
    candidates,
    compact,
    end_of,
    fold,
    is_doubtful,
    status,
)
from tests.support.lives import (
    Story,
    account_of,
    by_party,
    law,
    stories,
    wild_facts,
)
from tests.support.oracle import history, is_ambiguous

THING = "subscription:sub_1"
SECOND = 1000
NOW = 1_700_000_000 * SECOND

CREATED, REMINDED, UPDATED, PAUSED, DELETED = range(5)


def fact(
    after: str,
    before: str | None = None,
    *,
    at: int = 0,
    rank: int = UPDATED,
    event: str = "",
    final: bool = False,
    status: str = "active",
) -> Fact:
    """A snapshot that is called *after*, *at* so many seconds from now."""
    event = event or f"evt_{before or ''}_{after}_{at}_{rank}"
    value = {"status": status, "name": after}
    stamp = Stamp(final, NOW + at * SECOND, rank)
    return Fact("x:1", THING, stamp, event, "k", value, after, before)


def folded(facts: Iterable[Fact]) -> State:
    return fold(History(list(facts)))[THING]


def named(facts: Iterable[Fact]) -> tuple[str, bool]:
    """Name of the snapshot that is true now, and whether there may be another."""
    state = folded(facts)
    return state.value["name"], bool(state.rivals)


# --- Laws ---------------------------------------------------------------------


@law(300)
@given(wild_facts(), st.data())
def test_fold_ignores_order_and_repetition(
    facts: list[Fact], data: st.DataObject
) -> None:
    told = data.draw(st.permutations([*facts, *facts[:3]]))

    assert fold(History(facts)) == fold(History(told))


@law(300)
@given(wild_facts())
def test_the_snapshot_that_is_true_now_is_the_one_that_all_ways_lead_to(
    facts: list[Fact],
) -> None:
    for thing, state in fold(History(facts)).items():
        own = [f for f in facts if f.thing == thing]

        assert history(own)[-1][1] == state.value
        assert is_ambiguous(own) == bool(state.rivals)


@law()
@given(stories())
def test_what_stripe_said_last_is_true(story: Story) -> None:
    for party, facts in by_party(story.facts).items():
        for thing, state in fold(History(facts)).items():
            assert story.truth[party][thing][-1][1] == state.value
            assert not state.rivals


@law()
@given(wild_facts())
def test_everything_ever_seen_is_remembered(facts: list[Fact]) -> None:
    for thing, state in fold(History(facts)).items():
        own = [f for f in facts if f.thing == thing]

        words = {
            "trialing"
            if f.stamp.at < f.value.get("trialing_until", 0) and not f.stamp.final
            else f.value["status"]
            for f in own
        }
        assert words == state.seen
        assert any(f.stamp.rank == CREATED for f in own) == state.creation_seen
        assert any("trial_end" in f.value for f in own) == state.had_trial


# --- Laws of compaction ---------------------------------------------------------


def united(history: History, more: Iterable[Fact]) -> History:
    return History([*history.facts, *more], history.retained)


def split(data: st.DataObject, facts: list[Fact]) -> tuple[list[Fact], list[Fact]]:
    """Any part of *facts*, and the rest."""
    count = len(facts)
    taken = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    pairs = list(zip(facts, taken, strict=True))
    return [f for f, take in pairs if take], [f for f, take in pairs if not take]


def events(history: History) -> set[tuple[str, str]]:
    return {(f.thing, f.event) for f in history.facts}


@law(500)
@given(wild_facts(12), st.data())
def test_any_grouping_of_compacted_facts_folds_alike_whatever_arrives_later(
    facts: list[Fact], data: st.DataObject
) -> None:
    early, late = split(data, facts)
    middle, last = split(data, late)

    kept = compact(History(early))
    again = compact(united(kept, middle))

    assert fold(History(facts)) == fold(united(kept, late))
    assert fold(History(facts)) == fold(united(again, [*last, *middle]))
    assert events(compact(History(facts))) == events(compact(united(again, last)))


@law()
@given(wild_facts(12))
def test_compaction_makes_nothing_up_and_is_done_at_once(facts: list[Fact]) -> None:
    kept = compact(History(facts))
    again = compact(kept)

    assert set(map(id, facts)) >= set(map(id, kept.facts))
    assert (events(kept), kept.retained) == (events(again), again.retained)


@law()
@given(stories(), st.data())
def test_an_account_is_the_same_from_compacted_histories(
    story: Story, data: st.DataObject
) -> None:
    early, late = map(by_party, split(data, list(story.facts)))
    both = {
        party: united(compact(History(early.get(party, []))), late.get(party, []))
        for party in by_party(story.facts)
    }

    plain = {party: History(own) for party, own in by_party(story.facts).items()}

    assert account_of(plain) == account_of(both)


# --- Order between seconds ------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "facts"),
    [
        ("new", [fact("new"), fact("old", at=-1, rank=PAUSED)]),
        ("ended", [fact("ended", rank=DELETED, final=True), fact("active", at=9)]),
        ("ended", [fact("ended", final=True), fact("goes on", "ended", rank=PAUSED)]),
        ("new", [fact("new"), fact("new")]),
        ("new", [fact("new"), fact("other", at=9)._replace(thing="customer")]),
    ],
)
def test_an_older_event_never_wins_and_an_end_beats_all(expected, facts) -> None:
    assert (expected, False) == named(facts)


# --- One second -----------------------------------------------------------------

KINDS = {"<": (-1, UPDATED), "*": (0, CREATED), "~": (0, REMINDED), "^": (0, PAUSED)}


def second(steps: str, *words: str) -> list[Fact]:
    """Events like `a>b` (a became b) and `>b` (b, nothing says what was before).

    `<a` is of the second before, `*a` a creation, `~a` a reminder, `^a` a pause. Ids are
    in the opposite order. *words* are their statuses, if they are not all active.
    """
    facts = []
    for n, step in enumerate(steps.split()):
        at, rank = KINDS.get(step[0], (0, UPDATED))
        before, _, after = step.rpartition(">")
        status, event = words[n] if words else "active", f"evt_{9 - n}"
        name = after.strip("<*~^")
        facts.append(
            fact(name, before or None, at=at, rank=rank, event=event, status=status)
        )
    return facts


SECONDS = {
    "created, then active": ("b", "*a a>b"),
    "created, active at once, and no word of what was before": ("b", "*a >b"),
    "created, changed twice": ("c", "*a a>b b>c"),
    "two changes, predecessor known": ("c", "<a a>b b>c"),
    "two changes, predecessor not known": ("c", "a>b b>c"),
    "two changes, the predecessor is another": ("c", "<z a>b b>c"),
    "two changes that do not say what was before": ("b?", "<a >b >c"),
    "two changes from one and the same state": ("b?", "<a a>b a>c"),
    "two changes with a hole between": ("b?", "<a a>b c>d"),
    "a change and, after a hole, what changed nothing": ("c?", "<a c>c a>b"),
    "canceled and taken back": ("a", "<a a>b b>a"),
    "taken back and canceled again": ("b", "<b a>b b>a"),
    "a round trip, predecessor not known": ("a?", "b>a a>b"),
    "a round trip, the predecessor is on no way": ("a?", "<z b>a a>b"),
    "created, canceled and taken back": ("a", "*a a>b b>a"),
    "a round trip and a new quantity": ("c", "a>b b>a a>c"),
    "a round trip, and a change that is on no way": ("a?", "<a b>a a>b x>y"),
    "a change and an event that changed nothing": ("b", "<a a>b b>b"),
    "one change that two events tell, and another": ("c", "<a a>b a>b b>c"),
    "nothing but events that changed nothing": ("a", "<a a>a a>a"),
    "a reminder knows only what was before": ("b", "<a ~a a>b"),
    "a reminder of something else comes before the changes": ("b", "~y a>b"),
    "paused beside the update that says the same": ("p", "<a a>p ^p"),
    "paused, with something that no update tells": ("p", "<a a>b ^p"),
    "two of the strongest rank that no step connects": ("q?", "^q ^p"),
    "one and the same snapshot, told twice": ("b", ">b >b"),
    "the id decides last, so that everyone decides alike": ("b?", ">b >c"),
    "canceled, taken back and perhaps canceled again": ("b?", "<b a>b b>a a>b"),
}
"""What is true in the end, with `?` if it may be another one as well."""


@pytest.mark.parametrize("case", SECONDS)
def test_one_second_ends_where_its_steps_lead_in_every_order(case: str) -> None:
    name, steps = SECONDS[case]
    facts = second(steps)

    states = {named(order) for order in permutations(facts)}

    assert {(name[0], name.endswith("?"))} == states
    kept = compact(History(facts))
    assert folded(facts) == fold(kept)[THING] == fold(compact(kept))[THING]


def test_a_round_trip_ends_with_the_newest_of_what_was_before() -> None:
    older = fact("b", at=-9, event="evt_older")

    assert ("a", False) == named([older, *second("<a a>b b>a")])


def test_two_creations_of_one_second_are_told_apart_in_every_order() -> None:
    """Not Stripe's way; but a fold that looks at the order is none."""
    facts = second("*a *b c>b b>c")

    assert 1 == len({named(order) for order in permutations(facts)})


def test_of_several_events_that_tell_the_winner_the_last_one_is_named() -> None:
    told = second(">a a>b a>b")

    winners = {candidates(order)[0].event for order in permutations(told)}

    assert {"evt_8"} == winners


def step(before: str | None, after: str, n: int, rank: int = 2) -> Step:
    return Step(0, rank, f"evt_{n}", before, after)


def test_one_step_of_many_that_may_have_been_taken_twice_is_enough_for_doubt() -> None:
    there_and_back = [step("a", "b", 1), step("a", "b", 2), step("b", "a", 3)]
    onward = [step("b", "c", 4), step("b", "c", 5)]

    assert is_doubtful([*there_and_back, *onward])
    assert not is_doubtful(onward)


@pytest.mark.parametrize(("rank", "end"), [(1, "c"), (2, "c"), (3, None)])
def test_what_no_step_touches_is_beaten_by_the_strongest_step(rank, end) -> None:
    steps = [step("a", "b", 1, 2), step("b", "c", 2, 3), step(None, "x", 9, rank)]

    assert {end} == {end_of(order, []) for order in permutations(steps)}


# --- Spells of unpaid -------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("active", None),
        ("unpaid", 0),
        ("active unpaid", 1),
        ("active unpaid unpaid unpaid", 1),
        ("unpaid active", None),
        ("unpaid active unpaid", 2),
        ("active unpaid past_due unpaid unpaid", 3),
        ("unpaid canceled", None),
    ],
)
def test_a_spell_of_unpaid_begins_with_its_first_event(words, expected) -> None:
    facts = [
        fact(f"{n}{word}", at=n, status=word) for n, word in enumerate(words.split())
    ]

    since = {folded(order).unpaid_since for order in permutations(facts)}

    assert {None if expected is None else NOW + expected * SECOND} == since


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("active", None),
        ("past_due unpaid", ...),
        ("active past_due unpaid past_due", 1),
        ("past_due active unpaid", 2),
        ("active past_due active", None),
        ("active past_due canceled", None),
    ],
)
def test_a_spell_past_due_begins_with_its_first_event_whatever_was_compacted(
    words, expected
) -> None:
    facts = [
        fact(f"{n}{word}", at=n, status=word) for n, word in enumerate(words.split())
    ]
    began = (
        NOW + expected * SECOND
        if isinstance(expected, int)
        else {None: None, ...: 0}[expected]
    )

    for order in permutations(facts):
        for cut in range(len(order)):
            kept = compact(History(order[:cut]))
            assert began == fold(united(kept, order[cut:]))[THING].late_since


@pytest.mark.parametrize(
    ("seconds", "steps", "words", "later"),
    [
        (0, "a>p p>u", ("past_due", "unpaid"), []),
        (0, "a>p p>u", ("past_due", "unpaid"), ["u"]),
        (1, "a>u u>p", ("unpaid", "past_due"), ["p"]),
        # Without steps the last id tells how a second ended.
        (0, ">u >a", ("unpaid", "active"), [None]),
        (1, ">a >u", ("active", "unpaid"), [None]),
        (0, ">u >a >v", ("unpaid", "active", "unpaid"), [None]),
    ],
)
def test_a_spell_may_begin_or_end_in_a_second_that_had_both(
    seconds, steps, words, later
) -> None:
    """The ids are in no order where the steps say more."""
    next_ = [fact("w", before, at=1, status="unpaid") for before in later]

    for order in permutations([*second(steps, *words), *next_]):
        assert NOW + seconds * SECOND == folded(order).unpaid_since


def test_a_late_event_does_not_move_a_spell_that_began_after_what_was_paid() -> None:
    life = [(5, "active"), (7, "unpaid"), (9, "unpaid"), (11, "unpaid")]
    kept = compact(History([fact(f"{n}", at=n, status=word) for n, word in life]))
    late = fact("3", at=3, status="unpaid")

    since = [fold(united(kept, more))[THING].unpaid_since for more in ([], [late])]

    assert [NOW + 7 * SECOND] * 2 == since


def test_a_thing_without_a_status_is_present_until_it_is_deleted() -> None:
    assert ["present", "deleted", "active"] == [
        status(value) for value in ({}, {"deleted": True}, {"status": "active"})
    ]


# --- What compaction leaves -------------------------------------------------------

BORN = second("*a")


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_creation_that_others_repeat_is_kept_as_the_beginning(rank: int) -> None:
    facts = [*BORN, *(fact("a", rank=rank, event=f"evt_{n}") for n in range(2, 6))]
    kept = compact(History(facts))

    state = fold(united(kept, second("b>a a>b")))[THING]

    assert ("a", ()) == (state.value["name"], state.rivals)


MANY = 10_000
END = fact("end", at=99, final=True, status="canceled")


def years(count: int) -> list[Fact]:
    """Events of many seconds, paid and unpaid in turn."""
    words = ("active", "unpaid")
    return [
        fact(f"s{n}", f"s{n - 1}", at=n, status=words[n // 7 % 2]) for n in range(count)
    ]


def toggles(count: int) -> list[Fact]:
    """One second in which a subscription goes to and fro between three states."""
    return [
        fact("abc"[(n + 1) % 3], "abc"[n % 3], event=f"evt_{n}") for n in range(count)
    ]


@pytest.mark.parametrize(
    ("facts", "left", "unpaid", "seen"),
    [
        (years(MANY), 2, 7, {"active", "unpaid"}),
        ([*BORN, *toggles(MANY)], 7, 0, set()),
        ([*years(50), END], 1, 0, {"active", "unpaid", "canceled"}),
        (BORN, 1, 0, set()),
    ],
    ids=["of a long life", "of a busy second", "of an end", "of a short life"],
)
def test_little_is_left(facts, left, unpaid, seen) -> None:
    kept = compact(History(facts))
    retained = kept.retained.get(THING, Retained())

    assert len(kept.facts) <= left
    assert len(retained.unpaid) <= unpaid
    assert seen == retained.seen
