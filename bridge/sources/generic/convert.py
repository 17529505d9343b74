"""What a value of a delivery may be, and what is made of it: a table of words.

Each converter returns JSON or raises ValueError with what the value *must be*. Instants
become milliseconds, amounts decimal text in the unit in which they came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bridge.domain.money import bridged, decimals
from bridge.domain.values import LONGEST, MOST
from bridge.webhook.auth import FIRST_MS
from bridge.webhook.fields import LATEST, UNREAD, Currency, cleaned
from bridge.webhook.values import CONVERTERS as OF_TEXT
from bridge.webhook.values import decimal, is_bounded, milliseconds

Convert = Callable[[Any], Any]

CURRENCY = Currency()
UNIX = re.compile(r"/Date\(([0-9]{1,15})\)/|([0-9]{9,17})(\.[0-9]*)?", re.ASCII)
"""Unix time; the former is how Microsoft's senders write milliseconds."""

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
    """A text, or a number or truth as one, without blanks around it."""
    if type(value) is bool:
        return str(value).lower()
    if type(value) not in {str, int, float}:
        raise ValueError("must be a text, a number, true or false")
    # A whole number is exact, as it comes; of others two may look alike.
    if type(value) is float and not is_bounded(value):
        raise ValueError(f"must be a number, at most {MOST}")
    found = str(value).strip()
    if len(found) > LONGEST:
        raise ValueError(f"must be a text of at most {LONGEST} characters")
    return found


def label(value: Any, most: int) -> str:
    """The same for people to read: cut to *most* characters, and cleaned."""
    told = value.strip() if type(value) is str else text(value)
    return cleaned(told, most)


def amount(value: Any) -> str:
    """A number as plain decimal text."""
    return format(decimal(text(value)), "f")


def in_minor(amount: str, kind: str, currency: str) -> str:
    """Decimal text in `minor` or `major` units of a currency -> in the bridge's own.

    Senders of minor units mean the currency's own: those of ISO 4217.
    """
    told = decimals(currency) if kind == "minor" else 0
    return format(bridged(Decimal(amount), currency, told), "f")


def number(value: Any) -> Any:
    """A number."""
    return OF_TEXT["number"](text(value))


def instant(value: Any) -> int:
    """Milliseconds of ISO 8601, of Unix time in s, ms or us, or of `/Date(ms)/`."""
    said = text(value)
    found = UNIX.fullmatch(said)
    at = int(found[1] or found[2]) if found else milliseconds(said)
    if found:
        # Its size says the unit: a year has 3.2e7 seconds.
        sizes = (1000, 1, 0.001)
        at = int(at * sizes[(at >= FIRST_MS) + (at >= FIRST_MS * 1000)])
    if not 0 <= at <= LATEST * 1000:
        raise ValueError("must be an instant: ISO 8601 or Unix time")
    return at


def day(value: Any) -> str:
    """`YYYY-MM-DD`, the day of an instant in UTC."""
    return datetime.fromtimestamp(instant(value) / 1000, UTC).strftime("%Y-%m-%d")


def interval(value: Any) -> tuple[str, int]:
    """A word of INTERVALS."""
    found = INTERVALS.get(text(value).lower().replace("-", "_"))
    if found is None:
        raise ValueError(f"must be one of {', '.join(INTERVALS)}, by its lookup")
    return found


def currency(value: Any) -> Any:
    """Three letters, in lower case."""
    found = CURRENCY.read(value)
    if found is UNREAD:
        raise ValueError("must be a currency of three letters")
    return found


def count(value: Any) -> int | str:
    """How many: 0 or more, exact."""
    found = decimal(text(value))
    if found < 0:
        raise ValueError("must not be below 0")
    return int(found) if found == int(found) else format(found, "f")


def whole(value: Any) -> int:
    """A whole number above 0."""
    found = count(value)
    if not isinstance(found, int) or not found:
        raise ValueError("must be a whole number above 0")
    return found


def truth(value: Any) -> bool:
    """Whether an expression holds: something is there, and it is not false."""
    return value not in (False, "false", [], {})


def scalar(value: Any) -> Any:
    """Text, a number, true or false: as it is."""
    if type(value) is str:
        return label(value, LONGEST)
    text(value)
    if not is_bounded(value):
        raise ValueError(f"must be a number, at most {MOST}")
    return value


def listed(value: Any) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise ValueError("must be a list")  # noqa: TRY004 - of the sender
    return value


CONVERTERS: Mapping[str, Convert] = {
    "text": text,
    "number": number,
    "boolean": lambda value: OF_TEXT["boolean"](text(value)),
    "instant": instant,
    "day": day,
    "minor": amount,
    "major": amount,
    "interval": interval,
    "currency": currency,
    "count": count,
    "whole": whole,
    "truth": truth,
    "list": listed,
}
"""Word of `as`, or of a line that can be nothing else -> its converter."""

SCALARS = ("text", "number", "boolean", "instant", "day", "minor", "major")
"""What the line of a trait may say."""
