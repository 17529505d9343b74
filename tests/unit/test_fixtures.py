"""Every delivery recorded beside a source yields the facts beside it; none is registered.

`REGOLD=1 pytest tests/unit/test_fixtures.py` writes the facts anew; the review of a
change is the reading of that difference.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bridge.sources
from bridge.domain.facts import Fact
from bridge.sources import discover
from bridge.webhook.source import Delivery, Event, Source, Verified

SOURCES = discover()
FOLDER = Path(bridge.sources.__path__[0])
BODIES = sorted(
    path
    for path in FOLDER.glob("*/fixtures/*__*")
    if not path.name.endswith(".facts.json")
)


def source_of(path: Path) -> Source:
    """Return the source in whose folder the fixture lies."""
    return SOURCES[path.parent.parent.name]


def golden_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.facts.json")


def events_of(path: Path) -> list[Event]:
    delivery = Delivery("POST", "", {}, path.read_bytes())
    return list(source_of(path).split(Verified(delivery)))


def options_of(source: Source) -> dict[str, Any]:
    """Every option at its default, and what `bridge.toml` beside the fixtures says."""
    file = FOLDER / source.name / "fixtures" / "bridge.toml"
    said = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    table = source.table(said)
    assert not table.problems
    return {o.name: o.default for o in source.options} | table.values


def facts_of(path: Path) -> Iterator[Fact]:
    """Yield what ingest would, with the options of the fixtures."""
    source = source_of(path)
    options = options_of(source)
    for event in events_of(path):
        handler = source.handlers.get(event.type)
        if handler is not None and source.ignores(event, options) is None:
            yield from handler.facts(event, handler.schema.load(event.body), options)


def told(fact: Fact) -> dict[str, Any]:
    """A fact as JSON; its rendering is the store's matter."""
    shown = {**fact._asdict(), "stamp": fact.stamp._asdict()}
    return {key: value for key, value in shown.items() if key != "rendering"}


@pytest.mark.parametrize("path", BODIES, ids=lambda p: f"{p.parts[-3]}/{p.stem}")
def test_a_delivery_yields_the_facts_beside_it(path: Path) -> None:
    actual = [told(fact) for fact in facts_of(path)]
    golden = golden_of(path)
    if os.environ.get("REGOLD"):
        text = json.dumps(actual, indent=2, ensure_ascii=False)
        golden.write_text(text + "\n", encoding="utf-8")
    expected = json.loads(golden.read_text(encoding="utf-8"))

    assert expected == actual


def test_every_handler_has_a_fixture() -> None:
    declared = {
        (source.name, kind) for source in SOURCES.values() for kind in source.handlers
    }
    covered = {
        (source_of(path).name, event.type)
        for path in BODIES
        for event in events_of(path)
    }

    assert set() == declared - covered


def test_a_fixture_is_named_after_its_first_event() -> None:
    wrong = [
        path.name
        for path in BODIES
        if path.name.partition("__")[0] != events_of(path)[0].type
    ]

    assert [] == wrong


def test_no_golden_stands_alone() -> None:
    goldens = set(FOLDER.glob("*/fixtures/*.facts.json"))

    assert set() == goldens - {golden_of(path) for path in BODIES}
