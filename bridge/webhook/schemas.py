"""What the schemas of all sources share: a base class with a short way.

Ordinary nested marshmallow is the largest single cost of an event. Nearly all that
arrives is already what its fields would return, so `Payload.load` looks first whether
that is so for every value, and takes them. Anything else, right or wrong, goes to
marshmallow's own `load`, which alone makes errors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, Schema, fields, missing

from bridge.webhook.fields import UNREAD, Checked, Reference, referred

Read = Callable[[Any], Any]
"""Value as it came -> what its field returns for it, or UNREAD."""


class Row(NamedTuple):
    """The short way of one field; without a value it is None, or *required*."""

    name: str
    key: str
    read: Read
    required: bool


class Payload(Schema):
    """The part of a payload that is read; other keys are left out.

    What a payload lacks, or has as null, is None, unless the field is `required`. A
    schema with other defaults, hooks, validators or fields that `_READERS` does not know
    has no short way: it is as right, and several times slower.
    """

    class Meta:
        """Senders add keys at will."""

        unknown = EXCLUDE

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rows = _rows(self)

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Let a field be left out, or be null, where it does not say otherwise."""
        if not field_obj.required and field_obj.load_default is missing:
            field_obj.load_default = None
            field_obj.allow_none = True

    def load(
        self,
        data: Any,
        *,
        many: bool | None = None,
        partial: Any = None,
        unknown: Any = None,
    ) -> Any:
        """Return what `Schema.load` returns; raises ValidationError as it does."""
        if self.rows and not many and partial is None and unknown is None:
            found = self.short(data)
            if found is not UNREAD:
                return found
        return super().load(data, many=many, partial=partial, unknown=unknown)

    def short(self, data: Any) -> Any:
        """Return what `load` returns, or UNREAD where the short way cannot tell."""
        if type(data) is not dict or self.rows is None:
            return UNREAD
        found = {}
        for name, key, read, required in self.rows:
            value = data.get(key)
            if value is not None:
                value = read(value)
                if value is UNREAD:
                    return UNREAD
            elif required:
                return UNREAD
            found[name] = value
        return found


def reloaded(
    schema: Payload,
    now: Mapping[str, Any],
    data: Mapping[str, Any],
    keys: Collection[str],
) -> Any:
    """What `schema.load(data)` returns, where what gave *now* differs in *keys* alone.

    Raises ValidationError.
    """
    if schema.rows is None:
        return schema.load(data)
    found = dict(now)
    for name, key, read, required in schema.rows:
        if key in keys:
            value = data.get(key)
            if value is not None:
                value = read(value)
            elif required:
                value = UNREAD
            if value is UNREAD:
                return schema.load(data)
            found[name] = value
    return found


def _rows(schema: Schema) -> tuple[Row, ...] | None:
    """The short way of *schema*; None where it has none."""
    # _hooks is private: a hook may do anything, so that a schema with one is slow.
    if any(schema._hooks.values()) or schema.many or schema.partial:  # noqa: SLF001
        return None
    if schema.unknown != EXCLUDE:
        return None
    rows = [_row(name, field) for name, field in schema.load_fields.items()]
    known = tuple(row for row in rows if row is not None)
    return known if len(known) == len(rows) else None


def _row(name: str, field: fields.Field[Any]) -> Row | None:
    read = _reader(field)
    if read is None or field.attribute is not None:
        return None
    if field.required == field.allow_none:
        return None
    if not field.required and field.load_default is not None:
        return None
    return Row(name, field.data_key or name, read, field.required)


def _reader(field: fields.Field[Any]) -> Read | None:
    """How *field* reads a value that is neither missing nor None; None: not known."""
    if field.validators or field.pre_load or field.post_load:
        return None
    if isinstance(field, Checked):
        return field.read
    return _READERS.get(type(field), _unknown)(field)


def _unknown(_: Any) -> None:
    """A field of another class may do anything."""


def _flag(field: fields.Boolean) -> Read | None:
    if not (True in field.truthy and False in field.falsy):
        return None
    return _exactly(bool)


def _mapping(field: fields.Dict) -> Read | None:
    return None if field.key_field or field.value_field else _exactly(dict)


def _exactly(kind: type) -> Read:
    return lambda value: value if type(value) is kind else UNREAD


def _nested(field: fields.Nested) -> Read | None:
    schema = field.schema
    if field.many or field.unknown is not None or not isinstance(schema, Payload):
        return None
    if schema.rows is None:
        return None
    return schema.short


def _referred(field: Reference) -> Read | None:
    short = _nested(field)
    return short and (lambda value: short(referred(value)))


def _listed(field: fields.List[Any]) -> Read | None:
    inner = _reader(field.inner)
    if inner is None:
        return None
    null = None if field.inner.allow_none else UNREAD

    def read(value: Any) -> Any:
        if type(value) is not list:
            return UNREAD
        found = [null if one is None else inner(one) for one in value]
        return UNREAD if UNREAD in found else found

    return read


_READERS: Mapping[type, Callable[[Any], Read | None]] = {
    fields.String: lambda _: _exactly(str),
    fields.Integer: lambda _: _exactly(int),
    fields.Boolean: _flag,
    fields.Dict: _mapping,
    fields.Raw: lambda _: lambda value: value,
    fields.Nested: _nested,
    fields.List: _listed,
    Reference: _referred,
}
"""Class of a field -> its short way; a subclass may do anything, so it has none."""
