"""What holds for every source: its proof, its settings, its fixtures, their order.

`REGOLD=1 pytest tests/sources` writes the facts beside the fixtures anew; the review of
a change is the reading of that difference.
"""

from __future__ import annotations

import json
import os
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge.domain.facts import Fact
from bridge.domain.fold import History, fold
from bridge.domain.values import TO_REFRESH
from bridge.errors import PayloadError, SignatureError
from bridge.sources import discover, tables
from bridge.sources.generic import recipes
from tests.sources.known import NOW, Known, every, golden_of

KNOWN = every()
BODIES = [
    pytest.param(known, path, id=f"{known.name}/{path.stem}")
    for known in KNOWN
    for path in known.bodies
]

ENOUGH = 3
"""Fixtures of which two are about one thing."""

each = pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)


def is_refused(known: Known, delivery: Any, now: float = NOW) -> bool:
    try:
        known.source.verify(delivery, {**known.options, **known.on}, now)
    except SignatureError:
        return True
    return False


def test_every_source_and_recipe_is_here_once() -> None:
    assert sorted([*discover(), *recipes()]) == sorted(known.name for known in KNOWN)


# --- its proof, and its settings -----------------------------------------------------


def body_of(known: Known) -> bytes:
    return known.bodies[0].read_bytes() if known.bodies else b"{}"


@each
def test_the_right_secret_is_believed_and_no_other(known: Known) -> None:
    body = body_of(known)
    delivery = known.signed(body, known.secret)
    bare = delivery._replace(url=delivery.url.partition("?")[0], headers={})
    wrong = known.signed(body, known.secret[::-1])

    assert not is_refused(known, delivery)
    assert is_refused(known, wrong)
    assert is_refused(known, bare)


@each
def test_what_is_signed_is_the_body(known: Known) -> None:
    """Where a sender signs at all; others show their secret."""
    delivery = known.signed(body_of(known), known.secret)
    other = known.signed(body_of(known) + b" ", known.secret)

    if delivery.headers != other.headers:
        assert is_refused(known, delivery._replace(body=other.body))
        assert is_refused(known, other._replace(body=delivery.body))


@each
def test_whatever_is_shown_as_a_proof_is_no_error_of_ours(known: Known) -> None:
    right = known.signed(body_of(known), known.secret)

    @given(st.text(), st.binary())
    @settings(max_examples=30)
    def law(text: str, body: bytes) -> None:
        is_refused(known, right._replace(url=f"http://x/?{text}"))
        is_refused(known, right._replace(body=body))
        for name in right.headers:
            is_refused(known, right._replace(headers={**right.headers, name: text}))

    law()


@each
def test_without_its_settings_it_is_off(known: Known) -> None:
    off = known.off or known.source

    assert known.source.enabled({**known.options, **known.on})
    assert not off.enabled(known.options)
    with pytest.raises(SignatureError):
        off.verify(known.signed(b"{}", known.secret), known.options, NOW)


@each
def test_a_line_that_its_table_does_not_have_is_named(known: Known) -> None:
    (problem,) = (known.table or known.source.table)({"acount": "x"}).problems

    assert "acount" == problem.partition(" ")[0].rstrip(":")
    assert "is unknown" in problem or "is no line" in problem


@pytest.mark.parametrize(
    ("known", "said", "begins"),
    [
        pytest.param(known, said, begins, id=f"{known.name} {said}")
        for known in KNOWN
        for said, begins in known.mistakes
    ],
)
def test_a_mistake_in_its_table_is_named(known: Known, said: Any, begins: str) -> None:
    table = known.source.table(said)

    assert [begins] == [problem[: len(begins)] for problem in table.problems]
    assert ({}, []) == (table.values, list(table.traits))


def test_what_is_no_table_is_named() -> None:
    assert ["sources.solaris must be a table"] == [*tables({"solaris": 1}).problems]


@each
def test_what_is_without_effect_is_no_handler_and_has_a_reason(known: Known) -> None:
    assert set() == known.source.without_effect.keys() & known.source.handlers.keys()
    assert all(known.source.without_effect.values())


# --- its fixtures --------------------------------------------------------------------


def told(fact: Fact) -> dict[str, Any]:
    """A fact as JSON; its rendering is the store's matter."""
    shown = {**fact._asdict(), "stamp": fact.stamp._asdict()}
    return {key: value for key, value in shown.items() if key != "rendering"}


@pytest.mark.parametrize(("known", "path"), BODIES)
def test_a_delivery_yields_the_facts_beside_it(known: Known, path: Path) -> None:
    actual = [told(fact) for fact in known.facts(path)]
    golden = golden_of(path)
    if os.environ.get("REGOLD"):
        text = json.dumps(actual, indent=2, ensure_ascii=False)
        golden.write_text(text + "\n", encoding="utf-8")
    expected = json.loads(golden.read_text(encoding="utf-8"))

    assert expected == actual


@pytest.mark.parametrize(("known", "path"), BODIES)
def test_a_fixture_is_named_after_its_first_event(known: Known, path: Path) -> None:
    assert path.name.partition("__")[0] == known.events(path)[0].type


@each
def test_every_handler_has_a_fixture(known: Known) -> None:
    """Or, of a recipe, every rule: its handlers are as many as its sender's types."""
    kinds = {event.type for path in known.bodies for event in known.events(path)}
    if known.off is None:
        assert set() == known.source.handlers.keys() - kinds
    else:
        meanings = [known.source.handlers[kind].meaning for kind in kinds]
        rules = {rule for meaning in meanings for rule in meaning.split(", ")}
        assert set(recipes()[known.name].get("events", {})) == rules


@each
def test_no_golden_stands_alone(known: Known) -> None:
    goldens = set(known.fixtures.glob("*.facts.json"))

    assert goldens == {golden_of(path) for path in known.bodies}


# --- their order ---------------------------------------------------------------------


@each
def test_an_older_event_loses_in_whatever_order_they_come(known: Known) -> None:
    """Two deliveries about one thing: all that the later one tells stands.

    Which of them is later the stamps say, and what these are the facts by the fixtures.
    """
    found = [fact for path in known.bodies for fact in known.facts(path)]
    pairs = [
        (old, new)
        for old, new in permutations(found, 2)
        if (old.party, old.thing) == (new.party, new.thing)
        and old.stamp < new.stamp
        and old.thing != TO_REFRESH
    ]
    for old, new in pairs:
        both = fold(History([old, new]))
        assert both == fold(History([new, old])) == fold(History([new, old, new]))
        after = both[new.thing].value
        assert new.value == {key: after.get(key) for key in new.value}
    assert pairs or len(known.bodies) < ENOUGH


@each
def test_what_was_cut_short_is_refused_and_never_an_error_of_ours(known: Known) -> None:
    for path in known.bodies:
        body = path.read_bytes()
        for short in (b"", body[:1], body[: len(body) // 2], body[:-2], b"\xff" + body):
            delivery = known.signed(short, known.secret)
            try:
                events = list(known.source.split(delivery))
                for event in events:
                    if not event.refusal and event.type in known.source.handlers:
                        handler = known.source.handlers[event.type]
                        loaded = handler.schema.load(event.body)
                        list(handler.facts(event, loaded, known.options))
            except (PayloadError, ValidationError, SignatureError):
                continue
