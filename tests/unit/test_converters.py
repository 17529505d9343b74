"""How a CRM's text becomes a trait."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge.sources.crm import TraitMapping, trait_lines
from bridge.webhook.values import CONVERTERS, milliseconds


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        (
            "text",
            {
                " Acme ": "Acme",
                "0": "0",
                "x" * 2001: "x" * 1999 + "…",
                "a\nb\x00c\ud83d": "a b c\ufffd",
            },
            [],
        ),
        (
            "number",
            {"25": 25, "25.0": 25, "0.1": 0.1, "-3": -3, "1.2E7": 12_000_000},
            ["many", "NaN", "Infinity", "1e99", "1_000", "٣", "1,5"],
        ),
        ("money", {"10.005": 10.01, "-10.005": -10.01, "12000": 12_000}, ["$5"]),
        ("boolean", {"TRUE": True, "false": False}, ["yes"]),
        (
            "date",
            {
                "2026-05-01": "2026-05-01T00:00:00.000Z",
                "1777593600000": "2026-05-01T00:00:00.000Z",
                "2026-05-01T10:00:00.5+02:00": "2026-05-01T08:00:00.500Z",
                "2026-05-01T10:00:00Z": "2026-05-01T10:00:00.000Z",
                "1969-12-31": "1969-12-31T00:00:00.000Z",
                "-86400000": "1969-12-31T00:00:00.000Z",
                "-100000000001": "1966-10-31T14:13:19.999Z",
            },
            ["soon", "9" * 15, "1899-12-31", "05/01/2026", "-1"],
        ),
    ],
)
def test_a_text_is_what_its_line_says_or_refused_with_what_it_must_be(
    kind: str, taken: dict[str, Any], refused: list[str]
) -> None:
    mapping = TraitMapping("field", kind)

    for text, value in taken.items():
        found = mapping.convert(text)
        assert (type(value), value) == (type(found), found)
    for text in refused:
        with pytest.raises(ValueError, match=r"^must be "):
            mapping.convert(text)


@pytest.mark.parametrize("kind", CONVERTERS)
@pytest.mark.parametrize("text", [None, "", "  "])
def test_an_empty_text_is_cleared(kind: str, text: str | None) -> None:
    assert None is TraitMapping("field", kind).convert(text)


@given(st.sampled_from(sorted(CONVERTERS)), st.text() | st.floats().map(str))
def test_any_text_is_a_value_of_json_or_refused(kind: str, text: str) -> None:
    try:
        found = TraitMapping("field", kind).convert(text)
    except ValueError as error:
        assert str(error).startswith("must be ")  # noqa: PT017
        return
    json.dumps(found, allow_nan=False)


@given(st.datetimes(timezones=st.just(None) | st.timezones()))
def test_any_instant_is_read_or_refused(at: Any) -> None:
    try:
        found = milliseconds(at.isoformat())
    except ValueError as error:
        assert str(error).startswith("must be ")  # noqa: PT017
        return
    assert isinstance(found, int)


def test_a_source_may_have_a_word_and_converters_of_its_own() -> None:
    said = {"csm": {"property": "owner", "as": "user"}, "plan": "plan"}

    found = trait_lines("property", "user").deserialize(said)

    assert {"csm": TraitMapping("owner", "user"), "plan": TraitMapping("plan")} == found
    with pytest.raises(ValidationError) as refused:
        trait_lines("field").deserialize(said)
    assert ["csm"] == [*refused.value.messages_dict]
