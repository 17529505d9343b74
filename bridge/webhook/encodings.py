"""How senders write keys, digests and instants, and ids where they are looked up."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

FIRST_MS = 1e11
"""From here on a number is no longer seconds: it is 1973 in milliseconds."""


def segment(id_: str) -> str | None:
    """*id_* as one step of a URL's path; None where it cannot be one.

    `..` would lead out of the folder that it is looked up in; no id has control
    characters, nor halves of one.
    """
    is_id = id_.isprintable() and id_.strip(".")
    return quote(id_, safe="") if is_id else None


def _base64(secret: str) -> bytes:
    """Decode base64 whose padding may be missing, as Standard Webhooks' may."""
    return base64.b64decode(secret + "=" * (-len(secret) % 4), validate=True)


def _whole(text: str) -> float:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("no whole number")
    return float(text)


def _either(text: str) -> float:
    """Seconds, or milliseconds where they would be after the year 5000."""
    found = _whole(text)
    return found if found < FIRST_MS else found / 1000


def _iso(text: str) -> float:
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


KEYS = {"text": str.encode, "hex": bytes.fromhex, "base64": _base64}
"""How the key is made of the secret's text; each raises ValueError."""

DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "hex": lambda digest: digest.hex().encode(),
    "base64": base64.b64encode,
}
"""How a digest is written in the header."""

INSTANTS: Mapping[str, tuple[Callable[[str], float], Callable[[float], str]]] = {
    "s": (_whole, lambda now: str(int(now))),
    "ms": (lambda text: _whole(text) / 1000, lambda now: str(int(now * 1000))),
    "either": (_either, lambda now: str(int(now * 1000))),
    "iso": (_iso, lambda now: datetime.fromtimestamp(now, UTC).isoformat()),
}
"""Unit of a timestamp -> (text to seconds, raises ValueError; seconds to text)."""
