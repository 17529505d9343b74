"""`send`: what it signs is believed, and a recorded delivery is told anew as of now."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from bridge.cli.send import _by_event, _retold
from bridge.domain.facts import Fact
from bridge.ingest import read_event
from bridge.sources.generic import recipes
from bridge.webhook.auth import prove
from bridge.webhook.examples import examples, fresh, retold, set_value
from bridge.webhook.source import Delivery, Event, Options, Source, Verified
from tests.sources.known import NOW, URL, Known, every
from tests.support import desk

KNOWN = every()
SAMPLES = [
    pytest.param(known, name, id=f"{known.name}/{name}")
    for known in KNOWN
    for name in examples(known.source)
]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_what_is_signed_as_the_source_does_is_believed(known: Known) -> None:
    body = next(iter(examples(known.source).values()), b"{}")
    options = {**known.options, **known.on}
    body = known.source.fitted(body, options)
    delivery = prove(*known.source.proof(options), Delivery("POST", URL, {}, body), NOW)

    assert known.source.verify(delivery, options, NOW)


@pytest.mark.parametrize(("known", "name"), SAMPLES)
def test_a_sample_is_told_anew_as_the_same_event(known: Known, name: str) -> None:
    base = desk.settings("http://127.0.0.1:1", "redis://127.0.0.1:1/0")
    settings = replace(base, sources={**base.sources, **known.options})
    body = examples(known.source)[name]
    told = _retold(known.source, body, settings, None)
    (before, old), (after, new) = (
        read(known.source, settings.sources, one) for one in (body, told)
    )

    assert [one.type for one in before] == [one.type for one in after]
    assert [kind(fact) for fact in old] == [kind(fact) for fact in new]
    assert before[0].id != after[0].id
    newest = max(one.at for one in after) or max(fact.stamp.at for fact in new)
    assert 5000 > abs(time.time() * 1000 - newest)


def read(
    source: Source, options: Options, body: bytes
) -> tuple[list[Event], list[Fact]]:
    events = [*source.split(Verified(Delivery("POST", "", {}, body)))]
    return events, [f for one in events for f in read_event(source, one, options)[0]]


def kind(fact: Fact) -> str:
    return fact.thing.partition(":")[0]


def test_every_event_of_the_coded_sources_has_a_sample() -> None:
    coded = [known.source for known in KNOWN if known.name not in recipes()]

    assert all(set(_by_event(one)) == set(one.handlers) for one in coded)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"at": 1793520000,', '"at": 1793520090,'),
        ("[1793520000500]", "[1793520090500]"),
        ('"2026-11-01T23:59:00.123Z"', '"2026-11-02T00:00:30.123Z"'),
        ("at=2026-02-01+04%3A00%3A00+-0500", "at=2026-02-01+04%3A01%3A30+-0500"),
        ('"2026-11-01"', '"2026-11-01"'),
        ('"2026-09-30.endive"', '"2026-09-30.endive"'),
        ('"cus_1793520000"', '"cus_1793520000"'),
        ('"cus_a", "cus_ab"', '"cus_z", "cus_ab"'),
    ],
)
def test_times_move_and_ids_change_and_nothing_else_does(text, expected):
    assert expected == retold(text, 90_000, {"cus_a": "cus_z"})


def test_a_short_id_is_not_looked_for_in_a_time() -> None:
    text = '{"id": 12, "at": "2026-01-15 08:12:00"}'

    assert '{"id": 7, "at": "2026-01-15 08:12:01"}' == retold(text, 1000, {"12": "7"})


@pytest.mark.parametrize("id_", ["cus_example_1", "20030040501", "001xx000003DGb1AAG"])
def test_a_fresh_id_has_the_form_of_the_old_one(id_):
    (one,), (other,) = (fresh([id_], word).values() for word in ("a", "b"))

    assert one != other != id_
    assert [one] == [*fresh([id_], "a").values()]
    assert id_[:3] == one[:3] or (one.isdigit() and len(id_) == len(one))


def test_a_value_is_set_where_its_path_leads():
    body: dict[str, Any] = {"a": {"b": [{"c": 1}]}}
    set_value(body, "a.b.0.c", 2)
    set_value(body, "a.new", "x")

    assert {"a": {"b": [{"c": 2}], "new": "x"}} == body
    for path in ("a.x.c", "a.b.1.c", "a.b.0.c.d", "a.b.first"):
        with pytest.raises(ValueError, match=path):
            set_value(body, path, 1)
