"""The name by which help, errors and hints call the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from bridge.cli import COMMANDS, cli, program


def every_command() -> Iterator[str]:
    """What may be typed after the program's name."""
    yield ""
    context = click.Context(cli)
    for name in COMMANDS:
        yield name
        command = cli.get_command(context, name)  # type: ignore[attr-defined]
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
def test_help_and_hints_call_it_as_it_was_called(
    called: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    said = CliRunner().invoke(cli, ["quarantine", "list", "--help"]).output

    assert name == program()
    assert f"\n    {name} quarantine list\n" in said


@pytest.mark.parametrize("command", list(every_command()))
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = CliRunner().invoke(cli, [*command.split(), "--help"])

    assert 0 == result.exit_code
    _, _, examples = result.output.partition("Example:\n")
    assert f"python -m bridge {command}".rstrip() in examples
