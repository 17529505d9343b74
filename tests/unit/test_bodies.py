"""A body is read as JSON whatever its texts hold, and its numbers have bounds."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge.domain.values import MOST
from bridge.errors import PayloadError
from bridge.webhook.fields import NAME, Label, cleaned
from bridge.webhook.source import is_name, json_value
from bridge.webhook.values import digest, is_bounded
from tests.support.lives import law

HALVES = st.characters(categories=["Cs"])
TEXTS = st.text(st.one_of(st.characters(), HALVES, st.sampled_from('\\"u/d83')))


def joined(text: str) -> str:
    """What JSON makes of *text*: two halves that stand together are one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@law()
@given(TEXTS)
def test_half_a_character_is_read_as_one_that_is_none(text: str) -> None:
    found = json_value(json.dumps({"text": text}).encode())["text"]

    assert re.sub("[\ud800-\udfff]", "\uffff", joined(text)) == found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\ud83d\ud83d\ude00"', "\uffff😀"),
        (rb'"\ude00\ud83d"', "\uffff\uffff"),
        (rb'"\\ud83d"', r"\ud83d"),
        (rb'"\\\ud83d"', "\\\uffff"),
        (rb'["\\ud83d", "\uD83D"]', [r"\ud83d", "\uffff"]),
    ],
)
def test_only_half_a_character_is_mended(body: bytes, expected: Any) -> None:
    assert expected == json_value(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"1e400",
        b"-1e400",
        b"9" * 5000,
        b'"\xed\xa0\x80"',
        b'"\xff"',
        rb'{"a": "\ud83d", "b": NaN}',
        rb'{"a": "\ud83d", "b": 1e400}',
        rb'"\ud8"',
        b"[" * 5000 + rb'"\ud83d"' + b"]" * 5000,
    ],
)
def test_what_is_no_json_stays_none(body: bytes) -> None:
    with pytest.raises(PayloadError):
        json_value(body)


@law(50)
@given(st.text(max_size=20))
def test_a_name_can_be_shown_and_stored(text: str) -> None:
    assert is_name(text) == (text != "" and text.isprintable())


def test_an_id_with_half_a_character_is_no_id() -> None:
    assert not is_name(json_value(rb'"evt_\ud83d"'))


# --- Texts for people -----------------------------------------------------------


@law()
@given(TEXTS, st.integers(1, 300))
def test_a_text_for_people_can_be_stored_and_is_not_longer(text: str, most) -> None:
    found = cleaned(text, most)

    assert len(found) <= most
    assert found == orjson.loads(orjson.dumps(found))
    assert not re.search("[\x00-\x1f\x7f-\x9f\ufffe\uffff]", found)
    assert found == cleaned(found, most)


@pytest.mark.parametrize(
    "text", ["Pro", "Café 😀", "ชื่อ", "👩\u200d👩\u200d👧", "x" * NAME]
)
def test_a_text_that_can_be_shown_stays_as_it_is(text: str) -> None:
    assert text == Label().read(text)


@pytest.mark.parametrize("value", [1, 1.5, True, [], {}, {"en": "Pro"}])
def test_what_is_no_text_is_no_name_and_refuses_nothing(value: Any) -> None:
    assert None is Label().read(value)
    assert None is Label(load_default=None).deserialize(value)


# --- Numbers --------------------------------------------------------------------

ODD = [math.nan, math.inf, -math.inf, MOST + 1, -MOST - 1, 2**64, -(2**80), 1e300]


@pytest.mark.parametrize("number", ODD)
def test_no_number_without_bounds_becomes_a_fact(number: Any) -> None:
    for value in ({"is": number}, {"a": [{"b": number}]}, {"a": (1, number)}):
        with pytest.raises(ValidationError, match="beyond"):
            digest(value)


def test_no_text_that_is_none_becomes_a_fact() -> None:
    with pytest.raises(ValidationError, match="cannot be stored"):
        digest({"name": "\ud83d"})


@law(50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(-MOST, MOST),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_everything_else_does(value: Any) -> None:
    assert is_bounded(value)
    assert 12 == len(digest({"is": value}))
