"""What a value of a delivery may be, and what is made of it: a table of words.

Each converter returns JSON or raises ValueError with what the value *must be*. Instants
become milliseconds, amounts decimal text in the unit in which they came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bridge.domain.money import exponent
from bridge.webhook.converters import milliseconds
from bridge.webhook.encodings import FIRST_MS
from bridge.webhook.fields import LATEST, MOST, UNREAD, Currency, Minor

Convert = Callable[[Any], Any]

LONGEST = 2000
"""Characters of a text."""

MINOR, CURRENCY = Minor(), Currency()
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
NUMBER = re.compile(r"/Date\(([0-9]{1,15})\)/|([0-9]{9,17})", re.ASCII)
"""Unix time as text; the former is how Microsoft's senders write milliseconds."""

INTERVALS: Mapping[str, tuple[str, int]] = {
    **dict.fromkeys(("day", "days", "daily"), ("day", 1)),
    **dict.fromkeys(("week", "weeks", "weekly"), ("week", 1)),
    **dict.fromkeys(("month", "months", "monthly"), ("month", 1)),
    **dict.fromkeys(("quarter", "quarters", "quarterly"), ("month", 3)),
    **dict.fromkeys(("half_year", "semi_annual", "semiannual"), ("month", 6)),
    **dict.fromkeys(("year", "years", "yearly", "annual", "annually"), ("year", 1)),
}
"""Word of an interval -> the interval that money knows, and how many of it."""


def text(value: Any) -> str:
    """Any text or whole number, without blanks around it."""
    if type(value) is int and abs(value) < 10**30:
        return str(value)
    if type(value) is not str or len(value) > LONGEST:
        raise ValueError(f"must be a text of at most {LONGEST} characters")
    return value.strip()


def decimal(value: Any) -> str:
    """A number, or one as text, as plain decimal text."""
    if type(value) is float and abs(value) <= MOST:
        value = f"{value:.12f}"
    found = MINOR.read(value.strip() if type(value) is str else value)
    if found is UNREAD:
        raise ValueError(MINOR.must.replace("be", "must be", 1))
    return str(found)


def number(value: Any) -> int | float:
    """A number, or one as text."""
    found = decimal(value)
    return float(found) if "." in found else int(found)


def boolean(value: Any) -> bool:
    """True or false, as JSON has them or in words."""
    known = {"true": True, "yes": True, "1": True}
    known |= {"false": False, "no": False, "0": False}
    found = known.get(str(value).lower()) if type(value) in {bool, int, str} else None
    if found is None:
        raise ValueError("must be true or false")
    return found


def instant(value: Any) -> int:
    """Milliseconds of ISO 8601, of Unix time in s, ms or us, or of `/Date(ms)/`."""
    at = -1
    with suppress(ValueError, OverflowError):
        if type(value) is str:
            at = _written(value.strip())
        elif type(value) in {int, float}:
            at = _unix(value)
    if not 0 <= at <= LATEST * 1000:
        raise ValueError("must be an instant: ISO 8601 or Unix time")
    return at


def _unix(value: float) -> int:
    """What the number says by its size; a year has 3.2e7 seconds."""
    if value < FIRST_MS:
        return int(value * 1000)
    return int(value) if value < FIRST_MS * 1000 else int(value / 1000)


def _written(value: str) -> int:
    found = NUMBER.fullmatch(value)
    if found:
        return _unix(int(found[1] or found[2]))
    return milliseconds(value)


def day(value: Any) -> str:
    """`YYYY-MM-DD`: as it stands, or the day (UTC) of an instant."""
    at = datetime.fromtimestamp(instant(value) / 1000, UTC)
    is_day = type(value) is str and DAY.fullmatch(value.strip())
    return value.strip() if is_day else at.strftime("%Y-%m-%d")


def interval(value: Any) -> tuple[str, int]:
    """A word of INTERVALS."""
    found = INTERVALS.get(text(value).lower().replace("-", "_"))
    if found is None:
        raise ValueError(f"must be one of {', '.join(INTERVALS)}, or be in its lookup")
    return found


def currency(value: Any) -> str:
    """Three letters, in lower case."""
    found = CURRENCY.read(value)
    if found is UNREAD:
        raise ValueError("must be a currency of three letters")
    return str(found)


def scalar(value: Any) -> Any:
    """Text, a number, true or false: as it is."""
    if type(value) is bool:
        return value
    return number(value) if type(value) in {int, float} else text(value)


def truth(value: Any) -> bool:
    """Whether an expression holds: something is there, and it is not false."""
    return value not in (False, "false", [], {})


def whole(value: Any) -> int:
    """A whole number above 0."""
    found = number(value)
    if found < 1 or found != int(found):
        raise ValueError("must be a whole number above 0")
    return int(found)


def quantity(value: Any) -> int | str:
    """How many: 0 or more, exact."""
    found = decimal(value)
    if found.startswith("-"):
        raise ValueError("must not be below 0")
    return found if "." in found else int(found)


def listed(value: Any) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise ValueError("must be a list")  # noqa: TRY004 - of the sender
    return value


def minor(amount: str, code: str) -> str:
    """Decimal text in major units of a currency -> the same in minor ones."""
    return decimal(format(Decimal(amount).scaleb(exponent(code)), "f"))


CONVERTERS: Mapping[str, Convert] = {
    "text": text,
    "number": number,
    "boolean": boolean,
    "instant": instant,
    "day": day,
    "minor": decimal,
    "major": decimal,
    "interval": interval,
    "currency": currency,
    "truth": truth,
    "whole": whole,
    "quantity": quantity,
    "list": listed,
}
"""Word of `as`, or of a line that can be nothing else -> its converter."""

SCALARS = ("text", "number", "boolean", "instant", "day", "minor", "major")
"""What the line of a trait may say."""
