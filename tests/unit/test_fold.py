"""A set of facts is one state, whatever order it came in, seconds with many included."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, State, fold, status, winner
from tests.support.lives import Story, by_party, law, stories, wild_facts
from tests.support.oracle import history, is_ambiguous

THING = "subscription:sub_1"

SECOND = 1000
NOW = 1_700_000_000 * SECOND

CREATED, REMINDED, UPDATED, PAUSED, DELETED = range(5)


def fact(
    after: str,
    before: str | None = None,
    *,
    at: int = NOW,
    rank: int = UPDATED,
    event: str = "",
    final: bool = False,
    status: str = "active",
) -> Fact:
    """A snapshot that is called *after*; its event is named after its step."""
    event = event or f"evt_{before or ''}_{after}_{at}_{rank}"
    value = {"status": status, "name": after}
    return Fact(
        "stripe:cus_1", THING, Stamp(final, at, rank), event, "k", value, after, before
    )


def named(facts: Iterable[Fact]) -> tuple[str, bool]:
    """Name of the snapshot that is true now, and whether that is ambiguous."""
    state = folded(facts)
    return state.value["name"], state.ambiguous


def folded(facts: Iterable[Fact]) -> State:
    return fold(History(list(facts)))[THING]


# --- Laws ---------------------------------------------------------------------


@law(300)
@given(wild_facts(), st.randoms(use_true_random=False))
def test_fold_ignores_the_order_of_facts(facts: list[Fact], random) -> None:
    shuffled = random.sample(facts, len(facts))

    assert fold(History(facts)) == fold(History(shuffled))


@law()
@given(wild_facts(), st.data())
def test_fold_ignores_repetition(facts: list[Fact], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(facts), max_size=9)) if facts else []

    assert fold(History(facts)) == fold(History([*again, *facts, *again]))


@law(300)
@given(wild_facts())
def test_the_snapshot_that_is_true_now_is_the_one_that_all_ways_lead_to(
    facts: list[Fact],
) -> None:
    for thing, state in fold(History(facts)).items():
        own = [f for f in facts if f.thing == thing]

        assert history(own)[-1][1] == state.value
        assert is_ambiguous(own) == state.ambiguous


@law()
@given(stories())
def test_what_stripe_said_last_is_true(story: Story) -> None:
    for party, facts in by_party(story.facts).items():
        for thing, state in fold(History(facts)).items():
            assert story.truth[party][thing][-1][1] == state.value
            assert not state.ambiguous


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
        assert any("trial_end" in f.value for f in own) == state.trial


# --- Order between seconds ------------------------------------------------------


def test_an_older_event_never_wins() -> None:
    facts = [fact("new", at=NOW), fact("old", at=NOW - SECOND, rank=PAUSED)]

    assert ("new", False) == named(facts)


def test_an_end_beats_whatever_is_stamped_later() -> None:
    facts = [
        fact("ended", at=NOW, rank=DELETED, final=True),
        fact("active", at=NOW + 2 * 86_400 * SECOND),
    ]

    assert ("ended", False) == named(facts)


def test_an_end_beats_an_update_of_its_own_second() -> None:
    facts = [
        fact("ended", rank=UPDATED, final=True),
        fact("goes on", "ended", rank=PAUSED),
    ]

    assert ("ended", False) == named(facts)


def test_things_do_not_disturb_one_another() -> None:
    other = fact("other", at=NOW + SECOND)._replace(thing="customer")

    states = fold(History([fact("own"), other]))

    assert {THING: "own", "customer": "other"} == {
        thing: state.value["name"] for thing, state in states.items()
    }


# --- One second -----------------------------------------------------------------

BEFORE = fact("a", at=NOW - SECOND, event="evt_before")
ELSEWHERE = fact("z", at=NOW - SECOND, event="evt_before")

CANCEL = fact("b", "a", event="evt_cancel")
UNCANCEL = fact("a", "b", event="evt_uncancel")

SECONDS: dict[str, tuple[list[Fact], str, bool]] = {
    "created as incomplete, then active": (
        [fact("incomplete", rank=CREATED), fact("active", "incomplete")],
        "active",
        False,
    ),
    "created, active at once, and no word of what was before": (
        [fact("incomplete", rank=CREATED), fact("active")],
        "active",
        False,
    ),
    "created, changed twice": (
        [fact("i", rank=CREATED), fact("j", "i"), fact("a", "j")],
        "a",
        False,
    ),
    "two changes of the quantity, predecessor known": (
        [BEFORE, fact("b", "a", event="evt_2"), fact("c", "b", event="evt_1")],
        "c",
        False,
    ),
    "two changes of the quantity, predecessor not known": (
        [fact("b", "a", event="evt_2"), fact("c", "b", event="evt_1")],
        "c",
        False,
    ),
    "two changes of the quantity, the predecessor is another": (
        [ELSEWHERE, fact("b", "a", event="evt_2"), fact("c", "b", event="evt_1")],
        "c",
        False,
    ),
    "two changes that do not say what was before": (
        [BEFORE, fact("b", event="evt_2"), fact("c", event="evt_1")],
        "b",
        True,
    ),
    "two changes from one and the same state": (
        [BEFORE, fact("b", "a", event="evt_2"), fact("c", "a", event="evt_1")],
        "b",
        True,
    ),
    "two changes with a hole between": (
        [BEFORE, fact("b", "a", event="evt_2"), fact("d", "c", event="evt_1")],
        "b",
        True,
    ),
    "a change and, after a hole, an event that changed nothing": (
        [BEFORE, fact("b", "a", event="evt_1"), fact("c", "c", event="evt_2")],
        "c",
        True,
    ),
    "canceled and taken back, predecessor known": (
        [BEFORE, CANCEL, UNCANCEL],
        "a",
        False,
    ),
    "taken back and canceled again, predecessor known": (
        [fact("b", at=NOW - SECOND), CANCEL, UNCANCEL],
        "b",
        False,
    ),
    "canceled and taken back, predecessor not known": (
        [CANCEL, UNCANCEL],
        "a",
        True,
    ),
    "canceled and taken back, the predecessor is on no way": (
        [ELSEWHERE, CANCEL, UNCANCEL],
        "a",
        True,
    ),
    "created, canceled and taken back": (
        [fact("a", rank=CREATED), CANCEL, UNCANCEL],
        "a",
        False,
    ),
    "canceled, taken back, then a new quantity; predecessor not known": (
        [CANCEL, UNCANCEL, fact("c", "a", event="evt_0")],
        "c",
        False,
    ),
    "a round trip, and a change that is on no way": (
        [BEFORE, CANCEL, UNCANCEL, fact("y", "x", event="evt_0")],
        "a",
        True,
    ),
    "a change and an event that changed nothing": (
        [BEFORE, fact("b", "a", event="evt_1"), fact("b", "b", event="evt_2")],
        "b",
        False,
    ),
    "one change that two events tell, and another": (
        [
            BEFORE,
            fact("b", "a", event="evt_2"),
            fact("b", "a", event="evt_3"),
            fact("c", "b"),
        ],
        "c",
        False,
    ),
    "nothing but events that changed nothing": (
        [BEFORE, fact("a", "a", event="evt_1"), fact("a", "a", event="evt_2")],
        "a",
        False,
    ),
    "a reminder of the same second knows only what was before": (
        [BEFORE, fact("a", rank=REMINDED), fact("b", "a")],
        "b",
        False,
    ),
    "a reminder of something else comes before the changes": (
        [fact("y", rank=REMINDED), fact("b", "a")],
        "b",
        False,
    ),
    "paused beside the update that says the same": (
        [BEFORE, fact("p", "a"), fact("p", rank=PAUSED)],
        "p",
        False,
    ),
    "paused, with something that no update tells": (
        [BEFORE, fact("b", "a"), fact("p", rank=PAUSED)],
        "p",
        False,
    ),
    "two snapshots of the strongest rank that no step connects": (
        [fact("p", rank=PAUSED, event="evt_1"), fact("q", rank=PAUSED, event="evt_2")],
        "q",
        True,
    ),
    "one and the same snapshot, told twice": (
        [fact("b", event="evt_1"), fact("b", event="evt_2")],
        "b",
        False,
    ),
}


@pytest.mark.parametrize("case", SECONDS)
def test_one_second_ends_where_its_steps_lead_in_every_order(case: str) -> None:
    facts, name, ambiguous = SECONDS[case]

    found = {named(order) for order in permutations(facts)}

    assert {(name, ambiguous)} == found


def test_the_event_s_id_decides_last_so_that_everyone_decides_alike() -> None:
    facts = [fact("b", event="evt_9"), fact("c", event="evt_1")]

    assert {("b", True)} == {named(order) for order in permutations(facts)}


def test_a_step_that_was_taken_twice_is_not_forgotten() -> None:
    """Canceled, taken back, canceled again: two events tell the same step.

    Whether that is one step told twice or two steps cannot be known for sure, so the
    state may be either, but not without saying that it is ambiguous.
    """
    again = fact("b", "a", event="evt_again")

    assert ("b", False) == named([BEFORE, CANCEL, UNCANCEL, again]) or folded(
        [BEFORE, CANCEL, UNCANCEL, again]
    ).ambiguous


def test_two_creations_of_one_second_are_told_apart_in_every_order() -> None:
    """Not Stripe's way; but a fold that looks at the order is none."""
    facts = [
        fact("a", rank=CREATED, event="evt_1"),
        fact("b", rank=CREATED, event="evt_2"),
        fact("b", "c", event="evt_3"),
        fact("c", "b", event="evt_4"),
    ]

    assert 1 == len({named(order) for order in permutations(facts)})


def test_one_fact_of_an_event_and_thing_is_enough() -> None:
    one = fact("b", "a")

    assert folded([one]) == folded([one, one])


# --- Spells of unpaid -------------------------------------------------------------


def spell(*words: str) -> int | None:
    """Seconds after the start at which the present spell of unpaid began."""
    facts = [
        fact(f"{n}{word}", at=NOW + n * SECOND, status=word)
        for n, word in enumerate(words)
    ]
    since = {folded(order).unpaid_since for order in permutations(facts)}
    assert len(since) == 1
    at = since.pop()
    return None if at is None else (at - NOW) // SECOND


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["active"], None),
        (["unpaid"], 0),
        (["active", "unpaid"], 1),
        (["active", "unpaid", "unpaid", "unpaid"], 1),
        (["unpaid", "active"], None),
        (["unpaid", "active", "unpaid"], 2),
        (["active", "unpaid", "past_due", "unpaid", "unpaid"], 3),
        (["unpaid", "canceled"], None),
    ],
)
def test_a_spell_of_unpaid_begins_with_its_first_event(words, expected) -> None:
    assert expected == spell(*words)


def test_a_spell_may_begin_in_a_second_that_was_paid_before() -> None:
    facts = [
        fact("p", at=NOW, status="past_due", event="evt_9"),
        fact("u", "p", at=NOW, status="unpaid", event="evt_1"),
    ]

    assert {NOW} == {folded(order).unpaid_since for order in permutations(facts)}


def test_a_later_event_of_the_spell_does_not_move_its_beginning() -> None:
    """The ids of the first second are no order: past_due came before unpaid."""
    first = [
        fact("p", "a", at=NOW, status="past_due", event="evt_9"),
        fact("u", "p", at=NOW, status="unpaid", event="evt_1"),
    ]
    later = fact("v", "u", at=NOW + SECOND, status="unpaid")

    assert NOW == folded([*first, later]).unpaid_since


def test_a_spell_that_ended_in_its_second_is_over() -> None:
    """The ids are no order here either: unpaid came first, then it was paid."""
    first = [
        fact("u", "a", at=NOW, status="unpaid", event="evt_9"),
        fact("p", "u", at=NOW, status="past_due", event="evt_1"),
    ]
    later = fact("v", "p", at=NOW + SECOND, status="unpaid")

    assert NOW + SECOND == folded([*first, later]).unpaid_since


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["active", "unpaid"], 0),
        (["unpaid", "active"], 1),
        (["active", "unpaid", "past_due"], 1),
        (["unpaid", "active", "unpaid"], 0),
    ],
)
def test_without_steps_the_last_id_tells_how_a_second_ended(words, expected) -> None:
    first = [
        fact(f"{n}", at=NOW, status=word, event=f"evt_{n}")
        for n, word in enumerate(words)
    ]
    now = fact("u", at=NOW + SECOND, status="unpaid")

    assert NOW + expected * SECOND == folded([*first, now]).unpaid_since


def test_a_thing_without_a_status_is_present_until_it_is_deleted() -> None:
    assert ["present", "deleted", "active"] == [
        status(value) for value in ({}, {"deleted": True}, {"status": "active"})
    ]


def test_of_several_events_that_tell_the_winner_the_last_one_is_named() -> None:
    told = [fact("a", event="evt_5"), *(fact("b", "a", event=f"evt_{n}") for n in "19")]

    assert {"evt_9"} == {winner(order)[0].event for order in permutations(told)}


def test_winner_is_a_fact_of_the_set() -> None:
    facts = [BEFORE, CANCEL, UNCANCEL]

    assert (UNCANCEL, []) == winner(facts)
