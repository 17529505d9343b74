"""Payloads are read as plain marshmallow reads them; the strict fields are strict."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load

from bridge.domain.values import MOST
from bridge.webhook.fields import (
    LATEST,
    UNREAD,
    Checked,
    Currency,
    Id,
    Minor,
    Payload,
    Percent,
    Reference,
    Text,
    UnixTime,
    Whole,
    Word,
)


class Inner(Payload):
    """A nested object."""

    id = Id(required=True)
    amount = Minor()


class Outer(Payload):
    """One field of every kind."""

    text = Text(most=5)
    word = Word("up", "down")
    whole = Whole(1, 9, required=True)
    at = UnixTime()
    amount = Minor()
    percent = Percent()
    currency = Currency()
    id = Id()
    renamed = Text(data_key="other")
    string = fields.String()
    integer = fields.Integer()
    flag = fields.Boolean()
    mapping = fields.Dict()
    raw = fields.Raw()
    inner = fields.Nested(Inner)
    reference = Reference(Inner)
    inners = fields.List(fields.Nested(Inner))
    references = fields.List(Reference(Inner))
    holes = fields.List(Text(allow_none=True))


def plain(schema: Schema) -> Schema:
    """Return the same schema in marshmallow's own classes alone."""
    members = {name: plain_field(field) for name, field in schema.fields.items()}
    return Schema.from_dict(members)(unknown=EXCLUDE)


def plain_field(field: fields.Field) -> fields.Field:
    names = ("required", "allow_none", "load_default", "data_key")
    options: dict[str, Any] = {name: getattr(field, name) for name in names}
    if isinstance(field, fields.Nested):
        return type(field)(plain(field.schema), **options)
    if isinstance(field, fields.List):
        return fields.List(plain_field(field.inner), **options)
    return field


def outcome(schema: Schema, data: Any) -> tuple[str, Any]:
    try:
        return "loaded", schema.load(data)
    except ValidationError as error:
        return "refused", error.messages


OUTER = Outer()
PLAIN = plain(OUTER)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 12),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(
        ["up", "usd", "EUR", "0.50", "-0", "12", "1e3", "cus_1", "", "NaN"]
    ),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "amount", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)
OUTERS = st.dictionaries(
    st.sampled_from([*(f.data_key or n for n, f in OUTER.fields.items()), "unknown"]),
    ANYTHING,
)


def same(left: Any, right: Any) -> bool:
    """Equal in value and in type, NaN like NaN."""
    return repr(left) == repr(right)


@given(st.one_of(OUTERS, OUTERS.map(lambda found: {**found, "whole": 3}), ANYTHING))
@example({"whole": 3, "flag": 1, "string": b"x", "integer": "7", "mapping": {"a": 1}})
@example({"whole": 3, "reference": "di_1", "references": ["di_1", {"id": "di_2"}]})
@example({"whole": 3, "holes": ["a", None], "inners": [{"id": "a"}, None]})
@example({"whole": 3, "inners": {"id": "a"}})
@example({"whole": 3, "other": "renamed", "renamed": "unknown"})
def test_a_payload_is_read_as_plain_marshmallow_reads_it(data: Any) -> None:
    assert same(outcome(PLAIN, data), outcome(OUTER, data))


class Hooked(Payload):
    """What has a hook is marshmallow's own business."""

    whole = Whole()

    @post_load
    def doubled(self, data: Any, **_: Any) -> Any:
        return data["whole"] * 2


def test_hooks_and_options_are_marshmallow_own() -> None:
    assert 6 == Hooked().load({"whole": 3})
    assert [{"id": "a", "amount": None}] == Inner().load([{"id": "a"}], many=True)
    assert {} == Inner().load({}, partial=True)
    with pytest.raises(ValidationError):
        Inner().load({"id": "a", "x": 1}, unknown="raise")


@pytest.mark.parametrize(
    ("field", "kept", "refused"),
    [
        (
            UnixTime(),
            [(0, 0), (LATEST, LATEST * 1000)],
            [LATEST + 1, -1, True, 1.0, "1"],
        ),
        (Whole(), [(MOST, MOST)], [MOST + 1, False]),
        (
            Minor(),
            [
                *((2000, "2000"), (-MOST, str(-MOST)), ("0.5", "0.5"), ("-0.0", "0")),
                *(("007.500", "7.5"), ("-1.10", "-1.1"), (f"{MOST}", f"{MOST}")),
                (f"{MOST}.000", f"{MOST}"),
                ("0.123456789012", "0.123456789012"),
            ],
            [
                *(MOST + 1, True, 0.5, f"{MOST}.1", "0.1234567890123", "1e3", "NaN"),
                *("+1", " 1", "1\n", ".5", "5.", "٣", "9" * 5000),
            ],
        ),
        (
            Percent(),
            [
                *((20, "20"), (20.0, "20"), (33.33, "33.33"), (1e-7, "0.0000001")),
                *((100 / 3, "33.333333333333"), ("7.70", "7.7"), (100, "100")),
            ],
            [100.5, -1, "-1", math.nan, math.inf, 1e300, 10**400, True],
        ),
        (Currency(), [("USD", "usd")], ["usdt", "u1d", "ÄÖÜ", 840]),
        (
            Id(),
            [("cus_1", "cus_1"), ({"id": "cus_1", "name": "x"}, "cus_1")],
            [{"name": "x"}, {"id": {"id": "cus_1"}}, "", "x" * 256, 1],
        ),
        (Text(), [("x" * 2000, "x" * 2000)], ["x" * 2001]),
        (Word("up"), [("up", "up")], ["down", ["up"]]),
        (Checked(), [], ["x"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Checked) else "",
)
def test_a_strict_field_keeps_what_is_right_alone(
    field: Checked, kept: list[tuple[Any, Any]], refused: list[Any]
) -> None:
    for value, expected in kept:
        assert same(expected, field.deserialize(value))
        assert same(expected, field.read(value))
    for value in refused:
        assert UNREAD is field.read(value)
        with pytest.raises(ValidationError, match="Must be"):
            field.deserialize(value)


def test_a_refusal_says_what_must_be() -> None:
    with pytest.raises(ValidationError, match="Must be one of up, down"):
        OUTER.load({"whole": 3, "word": "left"})


@given(st.decimals(-MOST, MOST, places=12))
def test_an_amount_is_exact_whatever_its_form(amount: Decimal) -> None:
    read = Minor().read(f"{amount:f}")

    assert read is UNREAD or amount == Decimal(read)
