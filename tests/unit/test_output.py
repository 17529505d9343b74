"""How data looks on a terminal, and as JSON."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner

from bridge.cli.output import ago, as_json, cell, count, json_lines, moment, show, table


class Pair(NamedTuple):
    one: int
    two: str | None


def test_data_is_printed_in_words_or_as_json() -> None:
    data = {"pairs": [Pair(1, "a\x1b[2J"), Pair(2, None)]}

    @click.command
    @as_json
    def shows() -> None:
        show(data, lambda it: [f"{len(it['pairs'])} pairs"])

    words, printed = (CliRunner().invoke(shows, flags) for flags in ([], ["--json"]))

    assert "2 pairs\n" == words.output
    assert "\x1b" not in printed.output
    pairs = [{"one": 1, "two": "a\x1b[2J"}, {"one": 2, "two": None}]
    assert {"pairs": pairs} == json.loads(printed.output)


def test_json_is_indented() -> None:
    assert ["{", '  "one": 1,', '  "two": null', "}"] == json_lines(Pair(1, None))


def test_a_table_is_as_wide_as_it_needs_to_be() -> None:
    rows = [("long one", 1), ("b\n", None), ("c", [True])]

    assert ["A         B", "long one  1", "b\\n       -", "c         [true]"] == table(
        ("A", "B"), rows
    )
    assert ["A  B"] == table(("A", "B"), [])
    assert [] == table((), [])


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), ("a\tb", "a\\tb"), (1.50, "1.5"), (False, "false"), ("", "")],
)
def test_a_cell_is_one_line(value: Any, text: str) -> None:
    assert text == cell(value)


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 events"), (1, "1 event"), (2000, "2,000 events")]
)
def test_things_are_counted(number: int, words: str) -> None:
    assert words == count(number, "event")
    assert "2 parties" == count(2, "party", "parties")


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(0, "0 s"), (89_000, "89 s"), (240_000, "4 min"), (7.2e6, "2 h"), (2e8, "2 d")],
)
def test_a_length_of_time_is_rough(milliseconds: float, words: str) -> None:
    assert words == ago(milliseconds)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01 00:00:00"),
        (10**18, f"{10**18} ms"),
        (-(10**18), f"{-(10**18)} ms"),
    ],
)
def test_any_instant_can_be_shown(milliseconds: int, text: str) -> None:
    assert text == moment(milliseconds)
