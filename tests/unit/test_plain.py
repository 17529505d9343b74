"""What others wrote is shown as one line that steers nobody."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.log import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Søren & Fils — 20 %", "Søren & Fils — 20 %"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x7f", "\\u001b[2J\\u007f"),
        ("\x9b1m\x85", "\\u009b1m\\u0085"),
        ("\u202eevil\u2066\u200f", "\\u202eevil\\u2066\\u200f"),
        ("\u2028\ufeff\ud800", "\\u2028\\ufeff\\ud800"),
        ("\U000e0001", "\\udb40\\udc01"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert shown == plain(text)


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
    assert plain(text) == plain(plain(text))


@given(st.text(st.characters(exclude_categories=())))
def test_json_stays_the_same_json(text: str) -> None:
    raw = '"' + json.dumps(text, ensure_ascii=False)[1:-1] + '"'

    assert text.encode("utf-16", "surrogatepass") == json.loads(plain(raw)).encode(
        "utf-16", "surrogatepass"
    )
