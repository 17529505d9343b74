"""The name by which help, errors and hints call the command line."""

from __future__ import annotations

import sys

import click
import pytest

from bridge.cli.program import program, renamed


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
