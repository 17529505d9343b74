"""How the text of a CRM's field becomes the value of a trait: a closed list.

A converter takes a text that is not empty and raises ValueError with what it must be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from bridge.domain.facts import LONGEST, MOST
from bridge.domain.traits import EPOCH, Known, instant
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


class Line(NamedTuple):
    """Where a trait comes from: a *field* of a record, and the word of its converter."""

    field: str
    kind: str = "text"

    def convert(self, text: str | None) -> Known:
        """Return the trait's value, None where *text* is empty. Raises ValueError."""
        told = (text or "").strip()
        return CONVERTERS[self.kind](told) if told else None


def is_field(value: Any) -> bool:
    """Whether *value* can be the name of a field."""
    return isinstance(value, str) and bool(_FIELD.fullmatch(value))


def lines(
    said: Any, word: str = "field", *more: str
) -> tuple[dict[str, Line], list[str]]:
    """Read a table of traits: `plan = "Plan"`, `ends = { field = "End", as = "date" }`.

    *word* is what the source calls a field, *more* are converters of its own. Returns
    the lines by trait, and the problems.
    """
    if not isinstance(said, dict):
        return {}, ["traits must be a table"]
    kinds = (*CONVERTERS, *more)
    found: dict[str, Line] = {}
    problems: list[str] = []
    for trait, told in said.items():
        row = told if isinstance(told, dict) else {word: told}
        line = Line(row.get(word, ""), row.get("as", "text"))
        if trait == "name" or trait != trait.strip() or not trait.isprintable():
            problems.append(f"traits.{trait} cannot be the name of a trait")
        elif is_field(line.field) and line.kind in kinds and row.keys() <= {word, "as"}:
            found[trait] = line
        else:
            problems.append(
                f'traits.{trait} must be a {word}, or {{ {word} = "…", as = "…" }} '
                f"with one of {', '.join(kinds)}"
            )
    return found, problems
