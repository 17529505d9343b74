"""The command line: a table of commands, and what becomes of their errors."""

from __future__ import annotations

import sys
from importlib import import_module

import click
from redis.exceptions import RedisError

from bridge import __version__
from bridge.cli.output import note
from bridge.cli.session import SCRIPT, program, renamed
from bridge.errors import EXIT_CONFIG, BridgeError, ConfigError

COMMANDS = {
    "serve": "serve",
    "run": "serve",
    "demo": "demo",
    "simulator": "simulator",
    "status": "operate",
    "why": "explain",
    "held": "operate",
    "parked": "operate",
    "link": "operate",
    "retry": "operate",
    "discard": "operate",
    "pause": "operate",
    "resume": "operate",
    "quarantine": "operate",
    "backfill": "import_",
    "gaps": "import_",
    "doctor": "doctor",
    "accounts": "accounts",
    "sources": "sources",
}
"""Name of a command, and of its function -> the module, imported when it is called."""


ADVICE = (
    "set what is required in the environment, for a command as for web and worker; "
    "the README lists all settings"
)
"""The last line where a setting is missing."""


class Commands(click.Group):
    """Commands by name, imported late, so that one does not pay for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"bridge.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return renamed(command)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message=f"{SCRIPT} %(version)s")
def cli() -> None:
    """Billing and CRM webhooks in, right Vitally accounts out.

    \b
    Example:
      python -m bridge demo            see it work, on this machine alone
      python -m bridge why acme-101    where an account's numbers come from
    """


def fail(problems: tuple[str, ...] | list[str], status: int) -> None:
    """Say each problem on stderr and end with *status*."""
    for problem in problems:
        # The demo's errors have several lines, the end of a log among them.
        for line in f"{SCRIPT}: {problem}".split("\n"):
            note(line)
    sys.exit(status)


def main() -> None:
    """Run one command; a user's mistake is a sentence, never a traceback."""
    try:
        renamed(cli)(prog_name=program())
    except ConfigError as error:
        lacks = any(" is required" in problem for problem in error.problems)
        fail([*error.problems, *([ADVICE] if lacks else [])], EXIT_CONFIG)
    except BridgeError as error:
        fail([str(error)], 1)
    except RedisError as error:
        kind, hint = type(error).__name__, f"see `{program()} doctor`"
        fail(
            [f"Redis did not do it ({kind}); is it full, read-only or away? {hint}"], 1
        )
