"""The short way gives what plain marshmallow gives; the strict fields are strict."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from bridge.sources.stripe.schemas import CUSTOMER_EVENT, PRICE, SUBSCRIPTION_EVENT
from bridge.webhook.fields import (
    LATEST,
    MOST,
    UNREAD,
    Checked,
    Currency,
    Id,
    Minor,
    Percent,
    Reference,
    Text,
    UnixTime,
    Whole,
    Word,
)
from bridge.webhook.schemas import Payload


class Inner(Payload):
    """A nested object."""

    id = Id(required=True)
    amount = Minor(load_default=None)


class Outer(Payload):
    """One field of every kind."""

    text = Text(most=5, load_default=None)
    word = Word("up", "down", load_default=None)
    whole = Whole(1, 9, required=True)
    at = UnixTime(load_default=None)
    amount = Minor(load_default=None)
    percent = Percent(load_default=None)
    currency = Currency(load_default=None)
    id = Id(load_default=None)
    renamed = Text(data_key="other", load_default=None)
    string = fields.String(load_default=None)
    integer = fields.Integer(load_default=None)
    flag = fields.Boolean(load_default=None)
    mapping = fields.Dict(load_default=None)
    raw = fields.Raw(load_default=None)
    inner = fields.Nested(Inner, load_default=None)
    reference = Reference(Inner, load_default=None)
    inners = fields.List(fields.Nested(Inner), load_default=None)
    references = fields.List(Reference(Inner), load_default=None)
    holes = fields.List(Text(allow_none=True), load_default=None)


def plain(schema: Schema) -> Schema:
    """Return the same schema in marshmallow's own classes alone."""
    members = {name: plain_field(field) for name, field in schema.fields.items()}
    return Schema.from_dict(members)(unknown=EXCLUDE)


def plain_field(field: fields.Field) -> fields.Field:
    options: dict[str, Any] = {
        "required": field.required,
        "allow_none": field.allow_none,
        "load_default": field.load_default,
        "data_key": field.data_key,
    }
    if isinstance(field, fields.Nested):
        return type(field)(plain(field.schema), **options)
    if isinstance(field, fields.List):
        return fields.List(plain_field(field.inner), **options)
    return field


def outcome(schema: Schema, data: Any) -> tuple[str, Any, Any]:
    try:
        return "loaded", schema.load(data), None
    except ValidationError as error:
        return "refused", error.messages, error.valid_data


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
def test_the_short_way_gives_what_plain_marshmallow_gives(data: Any) -> None:
    assert same(outcome(PLAIN, data), outcome(OUTER, data))


@pytest.mark.parametrize("schema", [OUTER, CUSTOMER_EVENT, SUBSCRIPTION_EVENT, PRICE])
def test_our_schemas_have_a_short_way(schema: Payload) -> None:
    assert schema.rows


def test_the_short_way_is_taken_and_leaves_unknown_keys_out() -> None:
    found = OUTER.short({"whole": 3, "raw": [1], "unknown": 1})

    assert {"whole": 3, "raw": [1]} == {k: v for k, v in found.items() if v is not None}


class Rooms(Payload):
    """Fields that may change a value in their own way."""

    checked = fields.String(validate=validate.Length(max=3), load_default=None)


class Doors(Payload):
    """A list of what has no short way."""

    rooms = fields.List(fields.Nested(Rooms), load_default=None)


class Custom(fields.String):
    """A subclass may do anything."""


def test_a_field_that_may_do_anything_takes_the_long_way() -> None:
    slow = [
        Rooms(),
        Doors(),
        Payload.from_dict({"x": fields.String(load_default="")})(),
        Payload.from_dict({"x": fields.String(load_default="", allow_none=True)})(),
        Payload.from_dict({"x": fields.String(required=True, allow_none=True)})(),
        Payload.from_dict({"x": fields.String(required=True, attribute="y")})(),
        Payload.from_dict({"x": Custom(required=True)})(),
        Payload.from_dict({"x": fields.Boolean(truthy={"y"}, required=True)})(),
        Payload.from_dict({"x": fields.Dict(fields.String(), required=True)})(),
        Payload.from_dict({"x": fields.Nested(Inner, many=True, required=True)})(),
        Payload.from_dict({"x": fields.Nested(Schema, required=True)})(),
        Payload.from_dict({"x": Reference(Rooms, required=True)})(),
        Inner(unknown="raise"),
        Inner(partial=True),
        Inner(many=True),
    ]

    assert [None] * len(slow) == [schema.rows for schema in slow]
    assert {"rooms": [{"checked": "abc"}]} == Doors().load(
        {"rooms": [{"checked": "abc"}]}
    )
    with pytest.raises(ValidationError):
        Doors().load({"rooms": [{"checked": "abcd"}]})


def test_load_with_options_is_marshmallow_own() -> None:
    assert [{"id": "a", "amount": None}] == Inner().load([{"id": "a"}], many=True)
    assert {} == Inner().load({}, partial=True)
    with pytest.raises(ValidationError):
        Inner().load({"id": "a", "x": 1}, unknown="raise")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (UnixTime(), 0, 0),
        (UnixTime(), LATEST, LATEST * 1000),
        (UnixTime(), LATEST + 1, UNREAD),
        (UnixTime(), -1, UNREAD),
        (UnixTime(), True, UNREAD),
        (UnixTime(), 1.0, UNREAD),
        (UnixTime(), "1", UNREAD),
        (Whole(), MOST, MOST),
        (Whole(), MOST + 1, UNREAD),
        (Whole(), False, UNREAD),
        (Minor(), 2000, "2000"),
        (Minor(), -MOST, str(-MOST)),
        (Minor(), MOST + 1, UNREAD),
        (Minor(), True, UNREAD),
        (Minor(), 0.5, UNREAD),
        (Minor(), "0.5", "0.5"),
        (Minor(), "007.500", "7.5"),
        (Minor(), "-0.0", "0"),
        (Minor(), "-1.10", "-1.1"),
        (Minor(), f"{MOST}", f"{MOST}"),
        (Minor(), f"{MOST}.000", f"{MOST}"),
        (Minor(), f"{MOST}.1", UNREAD),
        (Minor(), "0.123456789012", "0.123456789012"),
        (Minor(), "0.1234567890123", UNREAD),
        (Minor(), "1e3", UNREAD),
        (Minor(), "NaN", UNREAD),
        (Minor(), "+1", UNREAD),
        (Minor(), " 1", UNREAD),
        (Minor(), "1\n", UNREAD),
        (Minor(), ".5", UNREAD),
        (Minor(), "5.", UNREAD),
        (Minor(), "٣", UNREAD),
        (Minor(), "9" * 5000, UNREAD),
        (Percent(), 20, "20"),
        (Percent(), 20.0, "20"),
        (Percent(), 33.33, "33.33"),
        (Percent(), 1e-7, "0.0000001"),
        (Percent(), 100 / 3, "33.333333333333"),
        (Percent(), "7.70", "7.7"),
        (Percent(), 100, "100"),
        (Percent(), 100.5, UNREAD),
        (Percent(), -1, UNREAD),
        (Percent(), "-1", UNREAD),
        (Percent(), math.nan, UNREAD),
        (Percent(), math.inf, UNREAD),
        (Percent(), 1e300, UNREAD),
        (Percent(), 10**400, UNREAD),
        (Percent(), True, UNREAD),
        (Currency(), "USD", "usd"),
        (Currency(), "usdt", UNREAD),
        (Currency(), "u1d", UNREAD),
        (Currency(), "ÄÖÜ", UNREAD),
        (Currency(), 840, UNREAD),
        (Id(), "cus_1", "cus_1"),
        (Id(), {"id": "cus_1", "name": "x"}, "cus_1"),
        (Id(), {"name": "x"}, UNREAD),
        (Id(), {"id": {"id": "cus_1"}}, UNREAD),
        (Id(), "", UNREAD),
        (Id(), "x" * 256, UNREAD),
        (Id(), 1, UNREAD),
        (Text(), "x" * 2001, UNREAD),
        (Word("up"), "down", UNREAD),
        (Word("up"), ["up"], UNREAD),
        (Checked(), "x", UNREAD),
    ],
)
def test_a_strict_field_keeps_what_is_right_alone(
    field: Any, value: Any, expected: Any
) -> None:
    assert expected is UNREAD or same(expected, field.deserialize(value))
    assert same(expected, field.read(value))


def test_a_refusal_says_what_must_be() -> None:
    with pytest.raises(ValidationError, match="Must be one of up, down"):
        OUTER.load({"whole": 3, "word": "left"})


@given(st.decimals(-MOST, MOST, places=12))
def test_an_amount_is_exact_whatever_its_form(amount: Decimal) -> None:
    read = Minor().read(f"{amount:f}")

    assert read is UNREAD or amount == Decimal(read)
