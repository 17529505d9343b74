"""How facts and retained history are stored in Redis: one small JSON text per field."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import NOTHING, History, Retained, Step, in_order
from bridge.domain.values import CUSTOMER, NAME

TAB = "\t"

SPELL = "late:"
"""Before a thing: its spell of LATE, in a row that versions without it read and leave."""


def field(fact: Fact) -> str:
    """The hash field of a fact: one for each event, thing and further rendering."""
    name = f"{fact.thing}{TAB}{fact.event}"
    return f"{name}{TAB}{fact.rendering}" if fact.rendering else name


def rows(facts: Collection[Fact]) -> list[str | bytes]:
    """The field and the row of each of *facts*, in turn; all are of one customer."""
    named = {CUSTOMER, NAME}
    is_named = any(f.value.get("name") for f in facts if f.thing in named)
    return [part for f in facts for part in (field(f), row(f, is_named=is_named))]


def row(fact: Fact, *, is_named: bool = False) -> bytes:
    """A fact without what its field and its key say already.

    Of an e-mail address only the domain is kept where the customer *is_named* otherwise.
    """
    (final, at, rank), value = fact.stamp, fact.value
    if is_named and "@" in str(value.get("email")):
        value = {**value, "email": value["email"].rpartition("@")[2]}
    parts = [int(final), at, rank, fact.kind, fact.after, fact.before, value]
    return orjson.dumps(parts)


def read(party: str, rows: Mapping[bytes, bytes]) -> History:
    """All that is kept of *party*, from its hash."""
    facts: list[Fact] = []
    retained: dict[str, Retained] = {}
    for name, raw in rows.items():
        thing, _, rest = name.decode().partition(TAB)
        event, _, form = rest.partition(TAB)
        if event:
            final, at, rank, kind, after, before, value = orjson.loads(raw)[:7]
            stamp = Stamp(bool(final), at, rank)
            fact = Fact(party, thing, stamp, event, kind, value, after, before, form)
            facts.append(fact)
        else:
            retained[thing] = _retained(orjson.loads(raw))
    for late in [name for name in retained if name.startswith(SPELL)]:
        thing, spell = late.removeprefix(SPELL), retained.pop(late)
        whole = retained.get(thing, NOTHING)
        retained[thing] = whole._replace(in_time=spell.paid, late=spell.unpaid)
    return History(facts, retained)


def rewrite(
    old: History, new: History, *, is_named: bool = False
) -> tuple[list[str], dict[str, str]]:
    """Fields to delete and fields to set, so that *old* becomes *new*.

    An address that came without a name goes once the customer *is_named*, as in `row`.
    """
    kept = {field(fact) for fact in new.facts}
    gone = [name for name in map(field, old.facts) if name not in kept]
    had, has = _retained_rows(old), _retained_rows(new)
    gone += [name for name in had if name.startswith(SPELL) and name not in has]
    put = {name: text for name, text in has.items() if text != had.get(name)}
    if is_named:
        mailed = [fact for fact in new.facts if "@" in str(fact.value.get("email"))]
        put |= {field(f): row(f, is_named=True).decode() for f in mailed}
    return gone, put


def _retained(data: Any) -> Retained:
    seen, creation_seen, trial, *spells = data
    steps = (frozenset(Step(*step[:5]) for step in some) for some in spells[:2])
    return Retained(frozenset(seen), bool(creation_seen), bool(trial), *steps)


def _retained_rows(history: History) -> dict[str, str]:
    rows: dict[str, str] = {}
    for thing, kept in history.retained.items():
        rows[thing + TAB] = _retained_row(kept)
        if kept.late:
            spell = Retained(paid=kept.in_time, unpaid=kept.late)
            rows[SPELL + thing + TAB] = _retained_row(spell)
    return rows


def _retained_row(retained: Retained) -> str:
    spells = map(in_order, (retained.paid, retained.unpaid))
    marks = sorted(retained.seen), int(retained.creation_seen), int(retained.had_trial)
    return orjson.dumps([*marks, *(list(map(list, s)) for s in spells)]).decode()
