"""An event that two endpoints were sent, each in its own version of the source's API."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, compact, fold, united
from bridge.sources.stripe import SOURCE
from bridge.webhook.source import Event
from tests.support.lives import START, law, wild_facts
from tests.support.local_stripe import Json, coupon, discount, item, subscription
from tests.support.reader import Reader

EXTRAS: list[dict[str, Any]] = [
    {"ends": 5},
    {"discounts": [{"id": "di_1", "percent": "50"}]},
    {"discounts": [{"id": "di_1"}, {"id": "di_2", "percent": "10"}]},
    {"items": [{"price": "p1", "ends": 5}, {"price": "p2"}], "ends": 6},
    {"items": [{"price": "p1", "unit": "7"}, {"price": "p3", "unit": "8"}]},
]


# --- Two that say the same in other words -----------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([{"a": 1}, {"a": 1, "b": 2}], {"a": 1, "b": 2}),
        (
            [{"a": 1, "c": 3}, {"a": 2, "b": 2, "d": 4}],
            {"a": 2, "b": 2, "c": 3, "d": 4},
        ),
        (
            [{"l": [{"id": "x", "n": 1}]}, {"l": [{"id": "x"}, {"id": "y"}]}],
            {"l": [{"id": "x", "n": 1}, {"id": "y"}]},
        ),
        (
            [{"l": [{"price": "x", "n": 1, "o": 1}]}, {"l": [{"price": "x", "m": 2}]}],
            {"l": [{"price": "x", "n": 1, "o": 1, "m": 2}]},
        ),
        (
            [{"l": [{"price": "x", "n": 1}]}, {"l": [{"price": "y", "n": 1, "m": 2}]}],
            {"l": [{"price": "y", "n": 1, "m": 2}]},
        ),
        ([{"l": ["a"]}, {"l": ["a", "b"]}], {"l": ["a", "b"]}),
        ([{"l": ["a"], "n": 1}, {"l": [{"id": "a"}]}], {"l": ["a"], "n": 1}),
    ],
)
def test_what_one_leaves_out_the_other_says(
    values: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    for order in permutations([*values, *values]):
        assert expected == united(order)


@given(st.lists(st.sampled_from(EXTRAS), min_size=1, max_size=4), st.data())
def test_the_order_of_renderings_is_no_matter(
    values: list[dict[str, Any]], data: st.DataObject
) -> None:
    other = data.draw(st.permutations(values))

    assert united(values) == united(other)
    assert set(united(values)) == {key for value in values for key in value}


# --- Laws of facts of which some are renderings of one event ----------------------


@st.composite
def rendered(draw: st.DrawFn) -> list[Fact]:
    """Wild facts, some told in further renderings, some ids used for two events."""
    facts: list[Fact] = draw(wild_facts(8))
    for fact in list(facts):
        for n in range(draw(st.sampled_from([0, 0, 1, 2]))):
            value = {**fact.value, **draw(st.sampled_from(EXTRAS))}
            before = draw(st.sampled_from([fact.before, None]))
            other = draw(st.sampled_from(["", "", "", "'"]))
            told = fact._replace(value=value, rendering=f"r{n}", before=before)
            told = told._replace(after=fact.after + other)
            facts.append(told)
    return facts


@law(400)
@given(rendered(), st.data())
def test_renderings_fold_alike_in_any_order_and_however_often(
    facts: list[Fact], data: st.DataObject
) -> None:
    order = data.draw(st.permutations([*facts, *facts[:3]]))

    assert fold(History(facts)) == fold(History(order))


@law(400)
@given(rendered(), st.data())
def test_compaction_forgets_no_rendering_that_can_matter(
    facts: list[Fact], data: st.DataObject
) -> None:
    mixed = data.draw(st.permutations(facts))
    cut = data.draw(st.integers(0, len(mixed)))
    early, late = compact(History(mixed[:cut])), mixed[cut:]
    middle = compact(History([*early.facts, *late[: len(late) // 2]], early.retained))
    whole = History([*middle.facts, *late[len(late) // 2 :]], middle.retained)

    assert fold(History(facts)) == fold(whole)
    assert {id(fact) for fact in facts} >= {id(fact) for fact in middle.facts}


def test_one_id_of_two_events_is_two_events() -> None:
    made = Fact("x:1", "customer", Stamp(False, START, 0), "evt", "made", {}, "a")
    later = made._replace(stamp=Stamp(False, START + 1, 2), kind="changed")

    for order in permutations([made, later]):
        for history in (History(order), compact(History(order))):
            state = fold(history)["customer"]
            assert (later, True) == (state.fact, state.creation_seen)


# --- Stripe's: a second of one subscription, in an old and a new version ----------

HALF = discount(coupon("HALF"))
PERIOD = {"current_period_end": 1_800_000_000}


def told(n: int, kind: str, quantity: int, status: str, was: Json | None = None) -> Any:
    """One event as it comes from each of two endpoints; *was* is what it replaced."""
    line = item(quantity=quantity)
    new = subscription("sub_1", "cus_1", line, status=status, discounts=["di_1"])
    line = {key: value for key, value in line.items() if key not in PERIOD}
    old = subscription("sub_1", "cus_1", line, status=status, **PERIOD)
    old |= {"discount": HALF, "discounts": None}
    events = []
    for shown in (old, new):
        before = dict(was or {})
        if "quantity" in before:
            # A list is given whole, as it was.
            lines = [{**shown["items"]["data"][0], **before}]
            before = {"items": {"data": lines}}
        data = {"object": shown, "previous_attributes": before}
        kind_ = f"customer.subscription.{kind}"
        events.append(Event(f"evt_{n}", kind_, START, {"data": data}))
    return Reader(SOURCE).facts_of(events)


SECOND: list[Fact] = [
    *told(9, "created", 1, "incomplete"),
    *told(1, "updated", 1, "active", {"status": "incomplete"}),
    *told(5, "updated", 2, "active", {"quantity": 1}),
    *told(3, "updated", 2, "past_due", {"status": "active"}),
]


@given(st.permutations(SECOND), st.sets(st.integers(0, len(SECOND) - 1), max_size=4))
def test_the_order_inside_a_second_holds_across_versions(
    order: list[Fact], lost: set[int]
) -> None:
    """Where of each event at least one rendering came."""
    gone = [SECOND[n] for n in lost if (n ^ 1) not in lost]
    facts = [fact for fact in order if fact not in gone]

    state = fold(compact(History(facts)))["subscription:sub_1"]
    value, first = state.value, state.value["items"][0]

    assert ("past_due", 2) == (value["status"], first["quantity"])
    assert not state.rivals
    if not {6, 7} & set(map(SECOND.index, gone)):
        (standing,) = value["discounts"]
        assert ("di_1", "50") == (standing["id"], standing["percent"])
        assert {"ends", "quantity"} <= first.keys()
