"""How the command line was called: the name that its help, errors and hints say."""

from __future__ import annotations

import sys
from copy import copy
from pathlib import Path

import click

MODULE = "python -m bridge"
"""Works wherever the packages are; the help of each command is written with it."""

SCRIPT = "vitally-bridge"
"""The command that the wheel brings, and that `make` puts into `.venv/bin`."""


def program() -> str:
    """What a person types before a command's name, as this process was called."""
    return SCRIPT if Path(sys.argv[0]).name == SCRIPT else MODULE


def renamed(command: click.Command) -> click.Command:
    """Return *command* with the examples in its help as they were called just now."""
    shown = copy(command)
    shown.help = (shown.help or "").replace(MODULE, program())
    if isinstance(shown, click.Group):
        shown.commands = {name: renamed(c) for name, c in shown.commands.items()}
    return shown
