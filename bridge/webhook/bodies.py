"""How a body is read as JSON; what cannot be is a PayloadError."""

from __future__ import annotations

from typing import Any, TypeGuard

import orjson

from bridge.errors import PayloadError

LONGEST = 255
"""Characters of an event's id and type."""


def json_value(body: bytes) -> Any:
    """Return what *body* says in JSON. Raises PayloadError."""
    try:
        return orjson.loads(body)
    except (ValueError, RecursionError):
        raise PayloadError("the body is no JSON that can be read") from None


def json_object(body: bytes) -> dict[str, Any]:
    """Return the one JSON object that *body* is. Raises PayloadError."""
    found = json_value(body)
    if not isinstance(found, dict):
        raise PayloadError("the body is no JSON object")
    return found


def is_name(value: Any) -> TypeGuard[str]:
    """Whether *value* can be the id or the type of an event."""
    return type(value) is str and 0 < len(value) <= LONGEST
