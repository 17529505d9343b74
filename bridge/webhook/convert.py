"""How the text of a CRM's field becomes the value of a trait: a closed list.

A converter takes a text that is not empty and raises ValueError with what it must be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from marshmallow import ValidationError, fields

from bridge.config import Table, text
from bridge.domain.traits import EPOCH, Known, instant
from bridge.domain.values import LONGEST, MOST
from bridge.webhook.fields import LATEST, cleaned

FIRST = -2_208_988_800_000
"""1900-01-01T00:00:00Z in milliseconds: what is older is a mistake."""

_FIELD = re.compile(r"[A-Za-z0-9_.-]{1,255}", re.ASCII)
_NUMBER = re.compile(
    r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", re.ASCII
)
_MILLISECONDS = re.compile(r"-?[0-9]{1,15}", re.ASCII)


def decimal(text: str) -> Decimal:
    """Read a number of at most 2**53 either way, exactly; `1.2E7` is one too."""
    found = Decimal(text) if _NUMBER.fullmatch(text) else None
    if found is None or abs(found) > MOST:
        raise ValueError(f"must be a number, at most {MOST}")
    return found


def milliseconds(text: str) -> int:
    """Milliseconds of a day, an ISO 8601 instant (UTC if it says no zone), or of such."""
    if _MILLISECONDS.fullmatch(text):
        found = int(text)
    else:
        try:
            told = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("must be a day, an instant or milliseconds") from None
        aware = told if told.tzinfo else told.replace(tzinfo=UTC)
        found = (aware - EPOCH) // timedelta(milliseconds=1)
    if not FIRST <= found <= LATEST * 1000:
        raise ValueError("must be between the years 1900 and 9999")
    return found


def _text(text: str) -> str:
    return cleaned(text, LONGEST)


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


class TraitMapping(NamedTuple):
    """Where a trait comes from: a *field* of a record, and the word of its converter."""

    field: str
    kind: str = "text"

    def convert(self, text: str | None) -> Known:
        """Return the trait's value, None where *text* is empty. Raises ValueError."""
        told = (text or "").strip()
        return CONVERTERS[self.kind](told) if told else None


def field_name(word: str, **options: Any) -> fields.String:
    """A line of `bridge.toml` that names one of a record's fields, called *word*."""
    return text(_FIELD.pattern, f"must be the name of a {word}", **options)


def trait_lines(word: str = "field", *more: str) -> Table:
    """A table of traits: `plan = "Plan"`, `ends = { field = "End", as = "date" }`.

    *word* is what the source calls a field, *more* are converters of its own.
    """
    names = fields.String(
        validate=lambda name: _check(
            name != "name" and name == name.strip() and name.isprintable(),
            "cannot be the name of a trait",
        )
    )
    return Table(names, TraitLine(word, (*CONVERTERS, *more)), load_default=dict)


class TraitLine(fields.Field[TraitMapping]):
    """The field of a trait, with one of the converters *kinds* or without."""

    def __init__(self, word: str, kinds: Collection[str]) -> None:
        super().__init__()
        self.word = word
        self.kinds = kinds
        self.must = (
            f'must be a {word}, or {{ {word} = "…", as = "…" }} '
            f"with one of {', '.join(kinds)}"
        )

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> TraitMapping:
        row = value if isinstance(value, dict) else {self.word: value}
        field, kind = row.get(self.word), row.get("as", "text")
        _check(row.keys() <= {self.word, "as"} and kind in self.kinds, self.must)
        _check(isinstance(field, str) and _FIELD.fullmatch(field), self.must)
        return TraitMapping(str(field), kind)


def _check(right: object, must: str) -> None:
    if not right:
        raise ValidationError(must)
