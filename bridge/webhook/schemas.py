"""What the schemas of all sources share: a base class with a short way.

Ordinary nested marshmallow is the largest single cost of an event. Nearly all that
arrives is already what its fields would return, so `Payload.load` looks first whether
that is so for every value, and takes them. Anything else, right or wrong, goes to
marshmallow's own `load`, which alone makes errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    schema with other defaults, hooks, validators or fields that `_reader` does not know
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


def _exactly(kind: type) -> Read:
    return lambda value: value if type(value) is kind else UNREAD


def _rows(schema: Schema) -> tuple[Row, ...] | None:
    """The short way of *schema*; None where it has none."""
    # _hooks is private: a hook may do anything, so that a schema with one is slow.
    if any(schema._hooks.values()) or schema.many or schema.partial:  # noqa: SLF001
        return None
    rows = [_row(name, field) for name, field in schema.load_fields.items()]
    known = tuple(row for row in rows if row is not None)
    return known if schema.unknown == EXCLUDE and len(known) == len(rows) else None


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
    # By its very class: a subclass may do anything. So may options of its own.
    kind, own = type(field), vars(field)
    if kind in READERS and not any(own.get(name) for name in OPTIONS):
        return READERS[kind]
    if isinstance(field, fields.List):
        return _listed(field)
    if isinstance(field, fields.Nested) and kind in {fields.Nested, Reference}:
        return _nested(field)
    return None


READERS: Mapping[type, Read] = {
    fields.String: _exactly(str),
    fields.Integer: _exactly(int),
    fields.Boolean: _exactly(bool),
    fields.Dict: _exactly(dict),
    fields.Raw: lambda value: value,
}
"""Class of a field -> its short way."""

OPTIONS = ("truthy", "falsy", "key_field", "value_field")
"""Options of these that change what they return."""


def _nested(field: fields.Nested) -> Read | None:
    schema = field.schema
    if field.many or field.unknown is not None or not isinstance(schema, Payload):
        return None
    if schema.rows is None:
        return None
    short = schema.short
    is_reference = type(field) is Reference
    return (lambda value: short(referred(value))) if is_reference else short


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
