"""The name by which help, errors and hints call the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from bridge.cli import COMMANDS, Commands, cli
from bridge.cli.session import program, renamed

GROUPS = ("accounts", "quarantine", "sources")


def every_command() -> Iterator[str]:
    """What may be typed after the program's name."""
    yield from ("", *COMMANDS)
    for name in GROUPS:
        group = Commands().get_command(click.Context(cli), name)
        assert isinstance(group, click.Group)
        yield from (f"{name} {part}" for part in group.commands)


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
def test_it_is_the_one_that_was_typed(
    called: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called])

    assert name == program()


@pytest.mark.parametrize("command", list(every_command()))
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = CliRunner().invoke(cli, [*command.split(), "--help"])

    assert 0 == result.exit_code
    _, _, examples = result.output.partition("Example:\n")
    assert f"python -m bridge {command}".rstrip() in examples


def test_the_help_of_a_command_and_of_its_parts_says_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = click.Command("list", help="python -m bridge all list")
    group = click.Group("all", {"list": part}, help="python -m bridge all")
    monkeypatch.setattr(sys, "argv", ["vitally-bridge"])
    shown = renamed(group)

    assert isinstance(shown, click.Group)
    assert "vitally-bridge all" == shown.help
    assert "vitally-bridge all list" == shown.commands["list"].help
    assert "python -m bridge all list" == part.help
