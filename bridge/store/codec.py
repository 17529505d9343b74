"""How facts and retained history are stored in Redis: one small JSON text per field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, Retained, Step, in_order

TAB = "\t"


def field(fact: Fact) -> str:
    """The hash field of a fact: one for each event, thing and further rendering."""
    name = f"{fact.thing}{TAB}{fact.event}"
    return f"{name}{TAB}{fact.rendering}" if fact.rendering else name


def row(fact: Fact) -> bytes:
    """A fact without what its field and its key say already.

    Of an e-mail address only the domain is kept, unless it is the customer's only name.
    """
    (final, at, rank), value = fact.stamp, fact.value
    if value.get("name") and "@" in str(value.get("email")):
        value = {**value, "email": value["email"].rpartition("@")[2]}
    return orjson.dumps(
        [int(final), at, rank, fact.kind, fact.after, fact.before, value]
    )


def read(party: str, rows: Mapping[bytes, bytes]) -> History:
    """All that is kept of *party*, from its hash."""
    facts: list[Fact] = []
    retained: dict[str, Retained] = {}
    for name, raw in rows.items():
        thing, _, rest = name.decode().partition(TAB)
        event, _, form = rest.partition(TAB)
        if event:
            final, at, rank, kind, after, before, value = orjson.loads(raw)
            stamp = Stamp(bool(final), at, rank)
            facts.append(
                Fact(party, thing, stamp, event, kind, value, after, before, form)
            )
        else:
            retained[thing] = _retained(orjson.loads(raw))
    return History(facts, retained)


def rewrite(old: History, new: History) -> tuple[list[str], dict[str, str]]:
    """Fields to delete and fields to set, so that *old* becomes *new*."""
    kept = {field(fact) for fact in new.facts}
    gone = [name for name in map(field, old.facts) if name not in kept]
    put = {
        thing + TAB: _retained_row(retained)
        for thing, retained in new.retained.items()
        if retained != old.retained.get(thing)
    }
    return gone, put


def _retained(data: Any) -> Retained:
    seen, creation_seen, trial, *spells = data
    steps = (frozenset(Step(*step) for step in some) for some in spells)
    return Retained(frozenset(seen), bool(creation_seen), bool(trial), *steps)


def _retained_row(retained: Retained) -> str:
    spells = [retained.paid, retained.unpaid]
    if retained.late:
        spells += [retained.in_time, retained.late]
    row = [
        sorted(retained.seen),
        int(retained.creation_seen),
        int(retained.trial),
        *([list(step) for step in in_order(steps)] for steps in spells),
    ]
    return orjson.dumps(row).decode()
