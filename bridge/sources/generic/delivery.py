"""How a delivery of a generic source, JSON or a form, becomes its events."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2s
from typing import Any
from urllib.parse import parse_qsl

from marshmallow import ValidationError

from bridge.errors import PayloadError
from bridge.sources.generic.paths import Absent, read
from bridge.webhook.fields import BROKEN
from bridge.webhook.source import Event, Verified, each, is_name, json_value

MOST = 1000
"""Events of one delivery."""

DEEPEST = 20
"""Brackets of one name of a form."""

HALF = re.compile("[\ud800-\udfff]")
NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def events(table: Mapping[str, Any], delivery: Verified) -> Iterator[Event]:
    """Return the events of a delivery, as its source's table says they are found.

    One that has no id is called by a digest of the delivery's bytes, which are the same
    whenever it is sent again. Raises PayloadError where the body holds no event.
    """
    seen: Counter[str] = Counter()
    usual = blake2s(delivery.body, digest_size=8).hexdigest()

    def event(row: Any) -> Event:
        if not isinstance(row, dict):
            raise PayloadError("the event is no object")
        id_ = _name(table, "id", row, delivery) or usual
        kind = _name(table, "type", row, delivery)
        if kind is None:
            raise PayloadError("the event has no type")
        seen[id_] += 1
        return Event(id_ if seen[id_] == 1 else f"{id_}:{seen[id_]}", kind, 0, row)

    return each(event, _rows(table, delivery.body))


def _name(
    table: Mapping[str, Any], line: str, row: Any, delivery: Verified
) -> str | None:
    """The event's id or type; None where it has none."""
    try:
        found = table[line].read(row, delivery.headers)
    except Absent:
        return None
    except ValueError as error:
        raise PayloadError(f"the event's {line} {error}") from None
    if not is_name(found):
        raise PayloadError(f"the event's {line} cannot be one")
    return found


def _rows(table: Mapping[str, Any], body: bytes) -> list[Any]:
    """The events' bodies; each that was split off has the whole as its `delivery`."""
    try:
        whole = FORMS[table["body"]](body)
    except (PayloadError, ValueError, RecursionError):
        raise PayloadError(f"the body cannot be read as {table['body']}") from None
    rows = whole if isinstance(whole, list) else [whole]
    if "split" in table:
        try:
            found = read(table, "split", whole) or []
        except ValidationError:
            raise PayloadError("split finds no list") from None
        rows = [
            {**(row if isinstance(row, dict) else {"value": row}), "delivery": whole}
            for row in found
        ]
    if len(rows) > MOST:
        raise PayloadError(f"the body holds more than {MOST} events")
    return rows


def _form(body: bytes) -> Any:
    """`a[b][c]=1` as nested objects; a name that is repeated has a list."""
    found: dict[str, Any] = {}
    pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="surrogateescape")
    for name, value in pairs:
        parts = NAME.fullmatch(name)
        if parts is None or parts[2].count("[") > DEEPEST:
            raise ValueError("no name of a form")
        # What is no text is read as in JSON.
        keys = [parts[1], *re.findall(r"\[([^\[\]]*)\]", parts[2])]
        _put(found, keys, HALF.sub(BROKEN, value) or None)
    return _listed(found)


def _put(into: dict[str, Any], keys: list[str], value: Any) -> None:
    *above, last = keys
    for key in above:
        into = into.setdefault(key, {})
        if not isinstance(into, dict):
            raise ValueError("a value and a table")  # noqa: TRY004 - of the sender
    if last not in into:
        into[last] = value
    elif isinstance(into[last], list):
        into[last].append(value)
    else:
        into[last] = [into[last], value]


def _listed(value: Any) -> Any:
    """Tables whose names are 0, 1, 2 … (or `[]`) are lists."""
    if not isinstance(value, dict):
        return value
    found = {name: _listed(inner) for name, inner in value.items()}
    if found.keys() == {str(n) for n in range(len(found))}:
        return [found[str(n)] for n in range(len(found))]
    if found.keys() == {""}:
        return found[""] if isinstance(found[""], list) else [found[""]]
    return found


FORMS: Mapping[str, Callable[[bytes], Any]] = {"json": json_value, "form": _form}
"""Word of `body` -> its parser, which raises PayloadError or ValueError."""
