"""What every command needs: how it was called, the settings, a Redis that answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from copy import copy
from pathlib import Path
from typing import NamedTuple

import click
from redis import Redis
from redis.exceptions import RedisError

from bridge.config import Config
from bridge.errors import StorageError
from bridge.settings import Settings
from bridge.sources import load
from bridge.store.connect import connect

MODULE = "python -m bridge"
"""Works wherever the packages are; the help of each command is written with it."""

SCRIPT = "vitally-bridge"
"""The command that the wheel brings, and that `make` puts into `.venv/bin`."""

NO_VITALLY = frozenset({"VITALLY_API_KEY"})
"""Settings that a command can do without which looks at Redis alone."""

PATIENCE = 5.0
"""Seconds that a person waits for Redis."""


class Session(NamedTuple):
    """What a command works with."""

    settings: Settings
    config: Config
    redis: Redis


def opened(without: Collection[str] = NO_VITALLY) -> Session:
    """Read the environment, and reach Redis. Raises ConfigError and StorageError."""
    settings, config = configured(without)
    return Session(settings, config, reached(settings))


def configured(without: Collection[str] = ()) -> tuple[Settings, Config]:
    """Read the environment and `bridge.toml`. Raises ConfigError."""
    return load(os.environ, without)


def reached(settings: Settings) -> Redis:
    """Return a Redis that answers. Raises StorageError, in words."""
    client = connect(
        settings.redis_url,
        verify_tls=settings.redis_tls_verify,
        timeout=PATIENCE,
        most=2,
    )
    try:
        client.ping()
    except RedisError as error:
        kind = type(error).__name__
        raise StorageError(
            f"Redis does not answer ({kind}); is it running, and is REDIS_URL right?"
        ) from None
    return client


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
