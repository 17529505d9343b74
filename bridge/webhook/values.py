"""What every source does to the small values that its facts carry."""

from __future__ import annotations

from hashlib import blake2s
from typing import Any

import orjson

from bridge.domain.facts import Value


def digest(value: Value) -> str:
    """Return 12 hexadecimal digits that stand for *value*, whatever its keys' order."""
    told = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return blake2s(told, digest_size=6).hexdigest()


def kept(**pairs: Any) -> dict[str, Any]:
    """What is told: None, False and empty are left out, 0 is not."""
    return {key: value for key, value in pairs.items() if value or type(value) is int}


def milliseconds(seconds: int | None) -> int | None:
    """An instant as facts have it."""
    return None if seconds is None else seconds * 1000
