"""How a delivery of a generic source becomes its events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import blake2s
from typing import Any

from marshmallow import ValidationError

from bridge.errors import PayloadError
from bridge.sources.generic.forms import parsed
from bridge.sources.generic.lines import Absent, told
from bridge.webhook.bodies import is_name
from bridge.webhook.source import Event, Verified, each

MOST = 1000
"""Events of one delivery."""


def events(said: Mapping[str, Any], delivery: Verified) -> Iterator[Event]:
    """Return the events of a delivery, as its source's table says they are found.

    One that has no id is called by a digest of the delivery's bytes, which are the same
    whenever it is sent again. Raises PayloadError where the body holds no event.
    """
    seen: Counter[str] = Counter()
    usual = blake2s(delivery.body, digest_size=8).hexdigest()

    def event(row: Any) -> Event:
        if not isinstance(row, dict):
            raise PayloadError("the event is no object")
        name = _named(said, "id", row, delivery, usual)
        seen[name] += 1
        if seen[name] > 1:
            name = f"{name}:{seen[name]}"
        return Event(name, _named(said, "type", row, delivery, "event"), 0, row)

    return each(event, _rows(said, parsed(said["body"], delivery)))


def _rows(said: Mapping[str, Any], whole: Any) -> list[Any]:
    """The events' bodies; each that was split off has the *whole* as its `delivery`."""
    rows = whole if isinstance(whole, list) else [whole]
    if "split" in said:
        try:
            found = told(said, "split", whole) or []
        except ValidationError:
            raise PayloadError("split finds no list") from None
        rows = [
            {**(row if isinstance(row, dict) else {"value": row}), "delivery": whole}
            for row in found
        ]
    if len(rows) > MOST:
        raise PayloadError(f"the body holds more than {MOST} events")
    return rows


def _named(
    said: Mapping[str, Any], line: str, row: Any, delivery: Verified, usual: str
) -> str:
    """Return the event's id or type."""
    if line not in said:
        return usual
    try:
        found = said[line].read(row, delivery.headers)
    except Absent:
        if line == "id":
            return usual
        raise PayloadError(f"the event has no {line}") from None
    except ValueError as error:
        raise PayloadError(f"the event's {line} {error}") from None
    if not is_name(found):
        raise PayloadError(f"the event's {line} cannot be one")
    return str(found)
