"""How a body is read as JSON; what cannot be is a PayloadError."""

from __future__ import annotations

import re
from typing import Any, TypeGuard

import orjson

from bridge.errors import PayloadError
from bridge.webhook.fields import BROKEN

LONGEST = 255
"""Characters of an event's id and type."""

MARK = orjson.dumps(BROKEN).strip(b'"')

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape of JSON; the group is half a pair of surrogates, without its other half."""


def json_value(body: bytes) -> Any:
    r"""Return what *body* says in JSON. Raises PayloadError.

    Half a character (`"\ud83d"`), which JSON can write and no text can hold, is read as
    BROKEN: an id with it is refused, a name is cleaned. A number is at most a double.
    """
    try:
        return orjson.loads(body)
    except (ValueError, RecursionError):
        mended = _ESCAPE.sub(lambda found: MARK if found[1] else found[0], body)
    try:
        return orjson.loads(mended)
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
    if type(value) is not str or not 0 < len(value) <= LONGEST:
        return False
    return value.isprintable()
