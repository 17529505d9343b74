"""How a request to Vitally is written: its path, its body, and what it must not leak."""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from bridge.errors import VitallyRefusedError

SHORTEST_SECRET = 6
"""Characters below which blotting out a key would blot out ordinary words."""


def address(*parts: str) -> str:
    """Path of a resource, each part percent-encoded whole.

    Raises VitallyRefusedError for an id that no path can carry: an empty one would
    address the list, and URL libraries resolve `.` and `..` away.
    """
    for part in parts:
        if part in {"", ".", ".."} or any(map(_unprintable, part)):
            raise VitallyRefusedError("the id cannot be part of a web address")
    return "/resources/" + "/".join(quote(part, safe="") for part in parts)


def _unprintable(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs"}


def content(body: Mapping[str, Any] | None) -> bytes | None:
    """Return *body* as JSON; raises VitallyRefusedError where it is none."""
    if body is None:
        return None
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise VitallyRefusedError(f"the body is no JSON: {error}") from None


def secrets(authorization: str) -> tuple[str, ...]:
    """Every form in which the key could come back in a reply."""
    encoded = authorization.removeprefix("Basic ")
    try:
        pair = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return (authorization, encoded)
    found = (authorization, encoded, pair, pair.partition(":")[0])
    return tuple(secret for secret in found if len(secret) >= SHORTEST_SECRET)
