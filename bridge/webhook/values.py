"""The values in facts: how they are converted from a sender's texts, and their bounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from hashlib import blake2s
from typing import Any, TypeVar, cast

import orjson
from marshmallow import ValidationError

from bridge.domain.traits import EPOCH, Known, instant
from bridge.domain.values import DAY_MS, LONGEST, MOST, Value
from bridge.webhook.fields import LATEST, cleaned

FIRST = -2_208_988_800_000
"""1900-01-01T00:00:00Z in milliseconds; anything older is a mistake."""

FIRST_MS = 1e11
"""From this number on a time is in milliseconds, not in seconds (this is 1973)."""

_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)
WRITTEN = "(?!(?:19|20)[0-9]{12}$)"
"""No day and time in fourteen digits: as a count of milliseconds it would be in 2572."""
_MILLISECONDS = re.compile(WRITTEN + r"-?[0-9]{1,15}", re.ASCII)
_CENT = Decimal("0.01")


# --- What a fact can hold -------------------------------------------------------


def is_bounded(value: Any) -> bool:
    """Whether all numbers in *value* are finite, and at most MOST in absolute value."""
    if isinstance(value, Mapping):
        return all(map(is_bounded, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_bounded, value))
    # NaN fails this comparison.
    return type(value) not in {int, float} or -MOST <= value <= MOST


def digest(value: Value) -> str:
    """Return a digest of *value*, 12 hexadecimal digits, independent of the order of keys.

    Every fact's value passes here. Raises ValidationError if it cannot be stored as it
    is: a number out of bounds, or invalid text.
    """
    if not is_bounded(value):
        raise ValidationError({"value": [f"It contains a number beyond {MOST}."]})
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise ValidationError({"value": [f"It cannot be stored: {error}."]}) from None
    return blake2s(text, digest_size=6).hexdigest()


ValueT = TypeVar("ValueT", bound=Value)


def kept(value: ValueT) -> ValueT:
    """Return the values that say something: None, False and empty are left out, 0 is not."""
    pairs: Any = {key: v for key, v in value.items() if v or type(v) is int}
    return cast("ValueT", pairs)


def unless(usual: Any, value: Any) -> Any:
    """Return the *value*, but None, which is left out, where it is the *usual* one."""
    return None if value == usual else value


# --- What a text means ----------------------------------------------------------


def decimal(text: str) -> Decimal:
    """Read a number of at most 2**53 in absolute value, exactly; `1.2E7` is accepted."""
    if _NUMBER.fullmatch(text) and abs(number := Decimal(text)) <= MOST:
        return number
    raise ValueError(f"must be a number, at most {MOST}")


def iso_8601(text: str) -> int:
    """Read a day or an instant (UTC if it has no zone), in milliseconds."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a day, an instant or milliseconds") from None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(milliseconds=1)


def milliseconds(text: str) -> int:
    """Read the same, or milliseconds.

    Fewer than twelve digits are these for a whole day alone: others are seconds, or a
    day that is written without dashes.
    """
    at = int(text) if _MILLISECONDS.fullmatch(text) else None
    if at is None or (abs(at) < FIRST_MS and at % DAY_MS):
        at = iso_8601(text)
    if not FIRST <= at <= LATEST * 1000:
        raise ValueError("must be between the years 1900 and 9999")
    return at


def month_end(year: int, month: int) -> int:
    """The last millisecond of a month (UTC), until which a card is good."""
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return (following - EPOCH) // timedelta(milliseconds=1) - 1


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text.lower() == "true"


def _plain(number: Decimal) -> int | float:
    return int(number) if number == int(number) else float(number)


CONVERTERS: Mapping[str, Callable[[str], Known]] = {
    "text": lambda text: cleaned(text, LONGEST),
    "number": lambda text: _plain(decimal(text)),
    "boolean": _boolean,
    "date": lambda text: instant(milliseconds(text)),
    # In major units, rounded to cents.
    "money": lambda text: _plain(decimal(text).quantize(_CENT, ROUND_HALF_UP)),
}
"""Word of `bridge.toml` -> the converter of a non-empty text; it raises ValueError with
what the text *must be*."""
