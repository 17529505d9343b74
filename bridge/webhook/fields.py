"""Building blocks of all sources' schemas: strict fields and their base class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, missing

from bridge.domain.values import MOST, shortened

LATEST = 253_402_300_799
"""9999-12-31T23:59:59Z in seconds, the last instant that a date can show."""

UNREAD: Any = object()
"""Returned in place of a value that is refused."""


class Payload(Schema):
    """The part of a payload that is read; other keys are left out.

    A field that is missing or null becomes None, unless it is `required`.
    """

    class Meta:
        """Senders may add keys at any time."""

        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Let a field be missing or null where it is not `required`."""
        if not field_obj.required:
            field_obj.load_default = None
            field_obj.allow_none = True

    def load(self, data: Any, **options: Any) -> Any:
        """Return what `Schema.load` returns; raises ValidationError as it does.

        Most fields are read directly; only the rest goes through marshmallow, whose general
        way would add half of an event's cost.
        """
        if type(data) is not dict or any(options.values()) or self._hooks:
            return super().load(data, **options)
        loaded: dict[str, Any] = {}
        wrong: dict[str, Any] = {}
        for name, field in self.load_fields.items():
            key = field.data_key or name
            value = data.get(key, missing)
            try:
                loaded[name] = _loaded(field, value)
            except ValidationError as error:
                wrong[key] = error.messages
        if wrong:
            raise ValidationError(wrong)
        return loaded


def _loaded(field: fields.Field[Any], value: Any) -> Any:
    if (value is None or value is missing) and not field.required:
        return None
    if isinstance(field, Checked):
        read = field.read(value)
        if read is not UNREAD:
            return read
    return field.deserialize(value)


class Checked(fields.Field[Any]):
    """A field whose rule is its method `read`; *must* is the rule for the error message."""

    must = "be something else"

    def read(self, value: Any) -> Any:
        """Return the value to keep, or UNREAD where it is refused (here: all)."""
        return UNREAD

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> Any:
        read = self.read(value)
        if read is UNREAD:
            raise ValidationError(f"Must {self.must}.")
        return read


NAME = 255
"""Most characters of a name (of an account, a plan or a price)."""

BROKEN = "\uffff"
"""Replaces half a character (a lone surrogate); it is not a character itself."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
_BROKEN = re.compile("[\ud800-\udfff\ufffe\uffff]+")


def cleaned(text: str, most: int = NAME) -> str:
    """A text for people: without unprintable characters, and cut to *most*.

    Never for an id, because two different ids may become equal.
    """
    if not text.isprintable():
        text = _BROKEN.sub("\ufffd", _CONTROL.sub(" ", text))
    return shortened(text, most)


class Label(Checked):
    """A text only for people: `cleaned`, without blanks around it.

    Any other value becomes None and is never refused: a bad name must not block money.
    """

    def read(self, value: Any) -> Any:
        return cleaned(value).strip() if type(value) is str else None


class Text(Checked):
    """A text of at most *most* characters that matters, so it is never changed."""

    def __init__(self, most: int = 2000, **options: Any) -> None:
        super().__init__(**options)
        self.most = most
        self.must = f"be a text of at most {most} characters"

    def read(self, value: Any) -> Any:
        return value if type(value) is str and len(value) <= self.most else UNREAD


class Word(Checked):
    """One of the *allowed* words; for fields where an unknown word would change a number."""

    def __init__(self, *allowed: str, **options: Any) -> None:
        super().__init__(**options)
        self.allowed = frozenset(allowed)
        self.must = f"be one of {', '.join(allowed)}"

    def read(self, value: Any) -> Any:
        return value if type(value) is str and value in self.allowed else UNREAD


class Whole(Checked):
    """A whole number from *low* to *high*; a bool is not one."""

    def __init__(self, low: int = 0, high: int = MOST, **options: Any) -> None:
        super().__init__(**options)
        self.low = low
        self.high = high
        self.must = f"be a whole number from {low} to {high}"

    def read(self, value: Any) -> Any:
        is_within = type(value) is int and self.low <= value <= self.high
        return value if is_within else UNREAD


class UnixTime(Checked):
    """Whole seconds since the epoch, kept as milliseconds."""

    must = f"be a whole number from 0 to {LATEST}"

    def read(self, value: Any) -> Any:
        return value * 1000 if type(value) is int and 0 <= value <= LATEST else UNREAD


_DECIMAL = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,12})?", re.ASCII)


class Minor(Checked):
    """An exact amount in minor units (`2000`, `"0.5"`), kept as plain decimal text.

    At most 12 decimals, no exponent, absolute value at most 2**53. The text has no
    needless zeros, so that equal amounts are equal texts.
    """

    low, high = -MOST, MOST
    must = f"be a decimal number, at most {MOST}, with at most 12 decimals"

    def read(self, value: Any) -> Any:
        text = str(value) if type(value) is int and abs(value) <= MOST else value
        if type(text) is not str or not _DECIMAL.fullmatch(text):
            return UNREAD
        number = Decimal(text)
        # 28 digits are exact; adding 0 makes 0 of -0.
        is_within = self.low <= number <= self.high
        return format(number.normalize() + 0, "f") if is_within else UNREAD


class Percent(Minor):
    """A percentage from 0 to *most* (`20`, `33.33`, `"7.7"`), kept as decimal text."""

    def __init__(self, most: int = 100, **options: Any) -> None:
        super().__init__(**options)
        self.low, self.high = 0, most
        self.must = f"be a number from 0 to {most}"

    def read(self, value: Any) -> Any:
        # NaN fails this comparison, and huge numbers are not converted to text.
        is_float = type(value) is float and 0 <= value <= self.high
        return super().read(f"{value:.12f}" if is_float else value)


class Currency(Checked):
    """Three ASCII letters, kept in lower case as Stripe writes them."""

    must = "be a currency of three letters"

    def read(self, value: Any) -> Any:
        if type(value) is str and len(value) == 3 and value.isascii():  # noqa: PLR2004
            return value.lower() if value.isalpha() else UNREAD
        return UNREAD


class Id(Checked):
    """An id up to 255 characters, or an expanded object that has one (kept: the id)."""

    must = "be an id, or an object that has one"

    def read(self, value: Any) -> Any:
        if type(value) is dict:
            value = value.get("id")
        if type(value) is not str or not 0 < len(value) <= 255:  # noqa: PLR2004
            return UNREAD
        return value if value.isprintable() else UNREAD


class Reference(fields.Nested):
    """An object, or only its id: `"di_1"` is read as `{"id": "di_1"}`."""

    def __init__(self, nested: Any, **options: Any) -> None:
        super().__init__(nested, pre_load=_object, **options)


def _object(value: Any) -> Any:
    return {"id": value} if type(value) is str else value
