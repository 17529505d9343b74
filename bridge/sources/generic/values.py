"""One value of a delivery: where it is, its allowed forms, and its conversion.

A converter returns JSON, or raises ValueError with what the value *must be*. Instants
become milliseconds; amounts become decimal text in the unit in which they came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from jmespath.parser import ParsedResult
from marshmallow import ValidationError

from bridge.domain import money
from bridge.domain.money import bridged, decimals
from bridge.domain.traits import instant as shown
from bridge.domain.values import ENDED, LONGEST, MOST
from bridge.webhook.fields import LATEST, NAME, UNREAD, Currency, cleaned
from bridge.webhook.values import CONVERTERS as OF_TEXT
from bridge.webhook.values import FIRST_MS, WRITTEN, decimal, is_bounded, iso_8601

Convert = Callable[[Any], Any]

UNFIT = (ValueError, TypeError, ArithmeticError, RecursionError)
"""What jmespath raises if its functions cannot handle a value."""

_UNIX = r"/Date\(([0-9]{1,15})\)/|([0-9]{9,17}(?:\.[0-9]*)?)"
UNIX = re.compile(f"{WRITTEN}(?:{_UNIX})", re.ASCII)
"""Unix time; the former is how Microsoft's senders write milliseconds."""

NO = frozenset({"false", "no", "0", "0.0", "0.00", "[]", "{}"})
"""What an expression yields that is not true, as a text."""

INTERVALS: Mapping[str, tuple[str, int]] = {
    **dict.fromkeys(("day", "days", "daily"), ("day", 1)),
    **dict.fromkeys(("week", "weeks", "weekly"), ("week", 1)),
    **dict.fromkeys(("month", "months", "monthly"), ("month", 1)),
    **dict.fromkeys(("quarter", "quarters", "quarterly"), ("month", 3)),
    **dict.fromkeys(("half_year", "semi_annual", "semiannual"), ("month", 6)),
    **dict.fromkeys(("year", "years", "yearly", "annual", "annually"), ("year", 1)),
}
"""Word for an interval -> interval of `money`, and how many of it."""


STATUSES = (*money.STATUSES, "incomplete", *sorted(ENDED))
"""Allowed statuses, directly or through a `lookup`."""

ABSENT: Any = object()
"""Stands for a value that a delivery does not contain: the sender has no opinion."""


class ValuePath(NamedTuple):
    """Where a value is, and how it is read; *kind* is the word of `as`.

    *clears*: the keys of a plain path; an explicit null there clears the value.
    """

    path: ParsedResult
    convert: Convert
    kind: str = ""
    headers: Sequence[str] = ()
    lookup: Mapping[str, Any] | None = None
    clears: Sequence[str] = ()

    def read(self, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        """Return the value; None if it is cleared, ABSENT if there is none.

        Raises ValueError, which never quotes the value, if it has the wrong form.
        """
        sent = headers or {}
        value = next((sent[name] for name in self.headers if name in sent), None)
        if value is None:
            try:
                value = self.path.search(body)
            except UNFIT:
                raise ValueError("its path does not fit the event") from None
        if value is None or value == "":
            return None if self.clears and _has(body, self.clears) else ABSENT
        if self.lookup is not None:
            word = text(value)
            if word not in self.lookup and "*" not in self.lookup:
                raise ValueError("is not in its lookup")
            value = self.lookup.get(word, self.lookup.get("*"))
        return self.convert(value)


def _has(body: Any, keys: Sequence[str]) -> bool:
    """Whether there is a value at these keys, even null."""
    for key in keys:
        if not isinstance(body, dict) or key not in body:
            return False
        body = body[key]
    return True


def read(
    table: Mapping[str, Any], body: Any, line: str, place: str = "", absent: Any = None
) -> Any:
    """Return the value of a *line* of a *table*, None where it is cleared.

    *absent* where there is none. Raises ValidationError where it is not what it must be;
    *place* is the table's.
    """
    path: ValuePath | None = table.get(line)
    try:
        value = ABSENT if path is None else path.read(body)
    except ValueError as error:
        raise ValidationError({place + line: [str(error)]}) from None
    return absent if value is ABSENT else value


# --- Converters -----------------------------------------------------------------


def text(value: Any) -> str:
    """A text, without blanks around it; numbers and booleans become texts."""
    if type(value) is bool:
        return str(value).lower()
    if type(value) not in {str, int, float}:
        raise ValueError("must be a text, a number, true or false")
    # Whole numbers are exact; two different floats may have the same text.
    if type(value) is float and not is_bounded(value):
        raise ValueError(f"must be a number, at most {MOST}")
    stripped = str(value).strip()
    if len(stripped) > LONGEST:
        raise ValueError(f"must be a text of at most {LONGEST} characters")
    return stripped


def label(value: Any, most: int = LONGEST) -> str:
    """The same for people: cut to *most* characters and cleaned."""
    return cleaned(value.strip() if type(value) is str else text(value), most)


def scalar(value: Any) -> Any:
    """Text, a number, true or false: as it is."""
    if type(value) is str:
        return label(value)
    text(value)
    if not is_bounded(value):
        raise ValueError(f"must be a number, at most {MOST}")
    return value


def amount(value: Any) -> str:
    """A number as plain decimal text."""
    return format(decimal(text(value)), "f")


def in_minor(amount: str, kind: str, currency: str) -> str:
    """Convert decimal text from `minor` or `major` units of a currency to the bridge's.

    Minor units of senders are those of ISO 4217.
    """
    places = decimals(currency) if kind == "minor" else 0
    return format(bridged(Decimal(amount), currency, places), "f")


def instant(value: Any) -> int:
    """Milliseconds of ISO 8601, of Unix time in s, ms or us, or of `/Date(ms)/`.

    Fewer digits are none of these: 0 is how some senders write that there is none.
    """
    written = text(value)
    unix = UNIX.fullmatch(written)
    if unix is None:
        at = iso_8601(written)
    else:
        number = Decimal(unix[1] or unix[2])
        # Its size shows the unit: a year has 3.2e7 seconds.
        size = (number >= FIRST_MS) + (number >= FIRST_MS * 1000)
        at = int(number * (1 if unix[1] else (1000, 1, Decimal("0.001"))[size]))
    if not 0 <= at <= LATEST * 1000:
        raise ValueError("must be an instant: ISO 8601 or Unix time")
    return at


def day(value: Any) -> str:
    """`YYYY-MM-DD`, the day of an instant in UTC."""
    return datetime.fromtimestamp(instant(value) / 1000, UTC).strftime("%Y-%m-%d")


def interval(value: Any) -> tuple[str, int]:
    """A word of INTERVALS."""
    word = text(value).lower().replace("-", "_")
    if word not in INTERVALS:
        raise ValueError(f"must be one of {', '.join(INTERVALS)}, by its lookup")
    return INTERVALS[word]


def status(value: Any) -> str:
    """A status of a subscription, one of STATUSES."""
    word = text(value)
    if word not in STATUSES:
        raise ValueError(f"must be one of {', '.join(STATUSES)}, by its lookup")
    return word


def code(value: Any) -> Any:
    """A currency: three letters, in lower case; "": none, like some senders' credits."""
    found = Currency().read(value)
    return "" if found is UNREAD else found


def currency(value: Any) -> Any:
    """A currency, and nothing else."""
    if not (found := code(value)):
        raise ValueError("must be a currency of three letters")
    return found


def truth(value: Any) -> bool:
    """Whether an expression is true: it yields something other than NO."""
    return str(value).strip().lower() not in NO


def reduction(value: Any) -> str:
    """The name of whatever lowers a price; "": nothing does."""
    name = "a discount" if isinstance(value, dict | list) else text(value)
    return name if truth(value) else ""


def count(value: Any) -> int | str:
    """How many: 0 or more, exact."""
    number = decimal(text(value))
    if number < 0:
        raise ValueError("must not be below 0")
    return int(number) if number == int(number) else format(number, "f")


def whole(value: Any) -> int:
    """A whole number above 0."""
    number = count(value)
    if not isinstance(number, int) or not number:
        raise ValueError("must be a whole number above 0")
    return number


def listed(value: Any) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise ValueError("must be a list")  # noqa: TRY004 - of the sender
    return value


CONVERTERS: dict[str, Convert] = {
    "": scalar,
    "text": text,
    "label": lambda value: label(value, NAME),
    "number": lambda value: OF_TEXT["number"](text(value)),
    "boolean": lambda value: OF_TEXT["boolean"](text(value)),
    "instant": instant,
    "day": day,
    "minor": amount,
    "major": amount,
    "interval": interval,
    "status": status,
    "code": code,
    "currency": currency,
    "count": count,
    "whole": whole,
    "truth": truth,
    "reduction": reduction,
    "list": listed,
}
"""Word of `as` ("" if there is none), or a line's fixed kind -> its converter."""

SHOWN: Mapping[str, Convert] = CONVERTERS | {
    "text": label,
    "instant": lambda value: shown(instant(value)),
    "major": CONVERTERS["number"],
}
"""The same for the value of a trait, as it is in Vitally."""

FIXED = {"label": "text", "reduction": "text", "code": "currency", "status": "text"}
"""Fixed kind of a line -> the only word that its `as` may be."""

SCALARS = ("text", "number", "boolean", "instant", "day", "minor", "major")
"""The kinds of values of a trait."""
