"""The command line: the list of commands, what each needs, and how errors are shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from redis import Redis
from redis.exceptions import RedisError

from bridge import __version__
from bridge.cli.output import AS_JSON, WATCH, near, note
from bridge.errors import EXIT_CONFIG, BridgeError, ConfigError, StorageError
from bridge.settings import Settings
from bridge.stop import stop_event
from bridge.store.connect import connect
from bridge.wording import MODULE, SCRIPT
from bridge.wording import program as program

if TYPE_CHECKING:  # only for those that need them: `alive` starts every few seconds
    from bridge.config import Config
    from bridge.vitally.client import Vitally

MODULES = {
    "bridge.cli.serve": "serve run",
    "bridge.cli.alive": "alive",
    "bridge.demo.run": "demo",
    "bridge.cli.simulator": "simulator",
    "bridge.cli.status": "status",
    "bridge.cli.doctor": "doctor",
    "bridge.cli.explain": "why",
    "bridge.cli.plan": "plan apply mass release reconcile",
    "bridge.cli.operate": "held parked link retry discard pause resume quarantine",
    "bridge.cli.backfill": "backfill gaps",
    "bridge.cli.accounts": "accounts",
    "bridge.cli.sources": "sources",
    "bridge.cli.replay": "replay",
    "bridge.cli.setup": "setup",
    "bridge.cli.send": "send",
    "bridge.cli.listen": "listen",
    "bridge.cli.state": "export import forget",
}
"""Module, imported when one of its commands is called -> the commands in it."""

COMMANDS = {name: where for where, names in MODULES.items() for name in names.split()}

NO_VITALLY = frozenset({"VITALLY_API_KEY"})
"""Settings that a command does not need if it uses only Redis."""

PATIENCE = 5.0
"""Seconds that a command waits for Redis."""

ADVICE = "commands need the variables of web and worker; docs/settings.md lists them"
"""The last line of the error when a setting is missing."""


class Session(NamedTuple):
    """What a command works with."""

    settings: Settings
    config: Config
    redis: Redis


def opened(without: Collection[str] = NO_VITALLY) -> Session:
    """Read the settings, and reach Redis. Raises ConfigError and StorageError."""
    settings, config = configured(without)
    return Session(settings, config, reached(settings))


def configured(without: Collection[str] = ()) -> tuple[Settings, Config]:
    """Read the environment and `bridge.toml`. Raises ConfigError."""
    from bridge.sources import load  # noqa: PLC0415 - see above

    return load(os.environ, without)


def reached(settings: Settings, most: int = 2) -> Redis:
    """Return a Redis that answers, until the command ends. Raises StorageError."""
    client = client_of(settings, most)
    click.get_current_context().call_on_close(client.connection_pool.disconnect)
    try:
        client.ping()
    except RedisError as error:
        kind, hint = type(error).__name__, "is it running, and is REDIS_URL right?"
        raise StorageError(f"Redis does not answer ({kind}); {hint}") from None
    return client


def vitally_of(settings: Settings, **more: Any) -> Vitally:
    """A client of Vitally with these options, until the command ends."""
    from bridge.vitally.client import Vitally  # noqa: PLC0415 - see above

    base, key = settings.vitally_base_url, settings.vitally_authorization
    client = Vitally(base, key, **more)
    click.get_current_context().call_on_close(client.close)
    return client


def client_of(settings: Settings, most: int) -> Redis:
    """A client of Redis with up to *most* connections."""
    url, verify_tls = settings.redis_url, settings.redis_tls_verify
    return connect(url, verify_tls=verify_tls, timeout=PATIENCE, most=most)


class Command(click.Command):
    """A command whose help shows examples as one would type them; `--json` unless not."""

    def __init__(self, *args: Any, json: bool = True, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if json:
            self.params.append(AS_JSON)

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace(MODULE, program())

    def invoke(self, ctx: click.Context) -> Any:
        """Do it, again and again where `--watch` was given, until Ctrl-C."""
        seconds = ctx.meta.get(WATCH)
        if not seconds:
            return super().invoke(ctx)
        stop = stop_event()
        while not stop.is_set():
            # Each time with a context of its own, which closes what was opened.
            with click.Context(self, ctx.parent, ctx.info_name) as again:
                again.params = ctx.params
                if sys.stdout.isatty():
                    click.clear()
                super().invoke(again)
            stop.wait(seconds)
        return None


class Group(Command, click.Group):
    """A group of commands, such as `quarantine list`."""

    command_class = Command

    def __init__(self, *args: Any, json: bool = False, **settings: Any) -> None:
        super().__init__(*args, json=json, **settings)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            meant = near(args[0], self.list_commands(ctx))
            raise click.UsageError(f"{error.message}{meant}", ctx) from None


class Program(Group):
    """All commands; each is imported only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name])
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(module, name)
        return command


@click.command(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, message=f"{SCRIPT} %(version)s")
def cli() -> None:
    """Billing and CRM webhooks in, right Vitally accounts out.

    \b
    Example:
      python -m bridge demo            see it work, on this machine alone
      python -m bridge why acme-101    where an account's numbers come from
    """


def main() -> None:
    """Run one command; a user's mistake is a sentence, never a traceback."""
    problems: list[str] = []
    status = 1
    try:
        cli(prog_name=program())
    except ConfigError as error:
        problems, status = [*error.problems], EXIT_CONFIG
        if any(" is required" in problem for problem in problems):
            problems.append(ADVICE)
    except BridgeError as error:
        problems = [str(error)]
    except RedisError as error:
        kind = f"Redis did not do it ({type(error).__name__})"
        problems = [f"{kind}; is it full, read-only or away? See `{program()} doctor`"]
    for problem in problems:
        # The demo's errors have several lines, including the end of a log.
        for line in f"{SCRIPT}: {problem}".split("\n"):
            note(line)
    sys.exit(status)
