"""How the text of a CRM's field becomes the value of a trait: a closed list.

Each converter takes a text that is not empty and raises ValueError with what it must be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from bridge.domain.traits import EPOCH, Known, instant
from bridge.webhook.fields import LATEST, MOST

LONGEST = 2000
"""Characters of a text that becomes a trait."""

FIRST = -62_135_596_800_000
"""0001-01-01T00:00:00Z in milliseconds, the first instant that a date can show."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", re.A)
_MILLISECONDS = re.compile(r"-?[0-9]{1,15}", re.ASCII)


def decimal(text: str) -> Decimal:
    """Read a number of at most 2**53 either way, exactly; `1.2E7` is one too."""
    found = Decimal(text) if _NUMBER.fullmatch(text) else None
    if found is None or abs(found) > MOST:
        raise ValueError(f"must be a number, at most {MOST}")
    return found


def milliseconds(text: str) -> int:
    """Read a day, an ISO 8601 instant (UTC where it does not say) or milliseconds."""
    if _MILLISECONDS.fullmatch(text):
        found = int(text)
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("must be a day, an instant or milliseconds") from None
        aware = at if at.tzinfo else at.replace(tzinfo=UTC)
        found = (aware - EPOCH) // timedelta(milliseconds=1)
    if not FIRST <= found <= LATEST * 1000:
        raise ValueError("must be between the years 1 and 9999")
    return found


def _text(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"must be a text of at most {LONGEST} characters")
    return text


def _boolean(text: str) -> bool:
    known = {"true": True, "false": False}
    if text.lower() not in known:
        raise ValueError("must be true or false")
    return known[text.lower()]


def _number(text: str) -> int | float:
    return _plain(decimal(text))


def _money(text: str) -> int | float:
    return _plain(decimal(text).quantize(Decimal("0.01"), ROUND_HALF_UP))


def _plain(number: Decimal) -> int | float:
    is_whole = number == number.to_integral_value()
    return int(number) if is_whole else float(number)


CONVERTERS: Mapping[str, Callable[[str], Known]] = {
    "text": _text,
    "number": _number,
    "boolean": _boolean,
    "date": lambda text: instant(milliseconds(text)),
    "money": _money,
}
"""Word of `bridge.toml` -> converter; `money` is in major units, rounded to cents."""


def converted(kind: str, text: str | None) -> Known:
    """Return *text* as *kind*, None where it is empty: cleared. Raises ValueError."""
    told = (text or "").strip()
    return CONVERTERS[kind](told) if told else None
