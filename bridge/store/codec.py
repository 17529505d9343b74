"""How facts and joins stand in Redis: one small JSON a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from bridge.domain.chain import Step, in_order
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import Joins, Past

TAB = "\t"


def field(fact: Fact) -> str:
    """The hash field of a fact: one for each event, thing and further rendering."""
    name = f"{fact.thing}{TAB}{fact.event}"
    return f"{name}{TAB}{fact.rendering}" if fact.rendering else name


def row(fact: Fact) -> bytes:
    """A fact without what its field and its key say already."""
    final, at, rank = fact.stamp
    return orjson.dumps(
        [int(final), at, rank, fact.kind, fact.after, fact.before, fact.value]
    )


def read(party: str, rows: Mapping[bytes, bytes]) -> Past:
    """All facts and joins of *party*, from its hash."""
    facts: list[Fact] = []
    joins: dict[str, Joins] = {}
    for name, raw in rows.items():
        thing, _, told = name.decode().partition(TAB)
        event, _, form = told.partition(TAB)
        if event:
            final, at, rank, kind, after, before, value = orjson.loads(raw)
            stamp = Stamp(bool(final), at, rank)
            facts.append(
                Fact(party, thing, stamp, event, kind, value, after, before, form)
            )
        else:
            joins[thing] = _joins(orjson.loads(raw))
    return Past(facts, joins)


def rewrite(old: Past, new: Past) -> tuple[list[str], dict[str, str]]:
    """Fields to delete and fields to set, so that *old* becomes *new*."""
    kept = {field(fact) for fact in new.facts}
    gone = [name for name in map(field, old.facts) if name not in kept]
    put = {
        thing + TAB: _joins_row(joins)
        for thing, joins in new.joins.items()
        if joins != old.joins.get(thing)
    }
    return gone, put


def _joins(data: Any) -> Joins:
    seen, born, trial, paid, unpaid = data
    steps = (frozenset(Step(*step) for step in told) for told in (paid, unpaid))
    return Joins(frozenset(seen), bool(born), bool(trial), *steps)


def _joins_row(joins: Joins) -> str:
    row = [
        sorted(joins.seen),
        int(joins.born),
        int(joins.trial),
        [list(step) for step in in_order(joins.paid)],
        [list(step) for step in in_order(joins.unpaid)],
    ]
    return orjson.dumps(row).decode()
