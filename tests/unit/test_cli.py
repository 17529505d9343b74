"""How the command line explains itself, and how data looks on it and as JSON."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from bridge.cli import COMMANDS, Command, cli, program
from bridge.cli.output import cell, json_lines, show, table
from bridge.wording import ago, count, moment


def every_command() -> Iterator[str]:
    """What may be typed after the program's name."""
    yield ""
    context = click.Context(cli)
    for name in COMMANDS:
        yield name
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from (f"{name} {part}" for part in command.commands)


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("/app/bridge/__main__.py", "python -m bridge"),
        ("/usr/local/bin/vitally-bridge", "vitally-bridge"),
        ("vitally-bridge", "vitally-bridge"),
        ("/app/workers/__main__.py", "python -m bridge"),
        ("", "python -m bridge"),
    ],
)
def test_help_and_hints_call_it_as_it_was_called(called, name, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called])
    said = CliRunner().invoke(cli, ["quarantine", "list", "--help"]).output

    assert name == program()
    assert f"\n    {name} quarantine list\n" in said


@pytest.mark.parametrize("command", list(every_command()))
def test_every_command_explains_itself_with_an_example(command):
    result = CliRunner().invoke(cli, [*command.split(), "--help"])

    assert 0 == result.exit_code
    _, _, examples = result.output.partition("Example:\n")
    assert f"python -m bridge {command}".rstrip() in examples


NO_JSON = {
    "": "the list of commands",
    **dict.fromkeys(("serve", "run"), "a process, which logs"),
    "alive": "a sentence; its status is read",
    "demo": "a story for people",
    "simulator": "a process",
    "quarantine show": "the exact bytes of a body",
    **dict.fromkeys(("quarantine", "accounts"), "a group"),
}
"""Commands without `--json`, and why."""


@pytest.mark.parametrize("command", list(every_command()))
def test_every_command_with_a_result_prints_json(command):
    has = "--json" in CliRunner().invoke(cli, [*command.split(), "--help"]).output

    assert (command not in NO_JSON) == has


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("sned", "send"), ("quarantine lst", "list"), ("acounts", "accounts")],
)
def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(typed, meant):
    result = CliRunner().invoke(cli, typed.split())

    assert (2, True) == (result.exit_code, f"did you mean {meant}?" in result.output)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_the_commands(shell, monkeypatch):
    monkeypatch.setenv("_VITALLY_BRIDGE_COMPLETE", f"{shell}_source")
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("click asks bash for its version")
    result = CliRunner().invoke(cli, prog_name="vitally-bridge")

    assert "_VITALLY_BRIDGE_COMPLETE" in result.output


class Pair(NamedTuple):
    one: int
    two: str | None


def test_data_is_printed_in_words_or_as_json():
    data = {"pairs": [Pair(1, "a\x1b[2J"), Pair(2, None)]}

    @click.command(cls=Command)
    def shows() -> None:
        show(data, lambda it: [f"{len(it['pairs'])} pairs"])

    words, printed = (
        CliRunner().invoke(shows, flags).output for flags in ([], ["--json"])
    )

    assert "2 pairs\n" == words
    assert "\x1b" not in printed
    pairs = [{"one": 1, "two": "a\x1b[2J"}, {"one": 2, "two": None}]
    assert {"pairs": pairs} == json.loads(printed)
    assert ["{", '  "one": 1,', '  "two": null', "}"] == json_lines(Pair(1, None))


def test_a_table_is_as_wide_as_it_needs_to_be():
    rows = [("long one", 1), ("b\n", None), ("c", [True])]
    lines = ["A         B", "long one  1", "b\\n       -", "c         [true]"]

    assert lines == table(("A", "B"), rows)
    assert ["A  B"] == table(("A", "B"), [])
    assert [] == table((), [])
    wide = [("\u682a\u5f0f 🏯", 1), ("two", 2)]
    assert ["\u682a\u5f0f 🏯  1", "two      2"] == table((), wide)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (cell(None), "-"),
        (cell("a\tb"), "a\\tb"),
        (cell(1.50), "1.5"),
        (cell(False), "false"),
        (cell(""), ""),
        (count(0, "event"), "0 events"),
        (count(1, "event"), "1 event"),
        (count(2000, "event"), "2,000 events"),
        (count(2, "party", "parties"), "2 parties"),
        (ago(0), "0 s"),
        (ago(89_000), "89 s"),
        (ago(240_000), "4 min"),
        (ago(7.2e6), "2 h"),
        (ago(2e8), "2 d"),
        (moment(0), "1970-01-01 00:00:00"),
        (moment(10**18), f"{10**18} ms"),
        (moment(-(10**18)), f"{-(10**18)} ms"),
    ],
)
def test_values_are_texts_of_one_line(shown, text):
    assert text == shown
