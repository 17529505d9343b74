"""`alive`: whether this machine's web or worker lives, for a container's health check."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException

import click
from redis.exceptions import RedisError

from bridge.cli import NO_VITALLY, Command
from bridge.cli.output import say
from bridge.errors import BridgeError, ConfigError
from bridge.settings import OPTIONS, Settings, read_all
from bridge.store import keys
from bridge.store.connect import connect
from bridge.store.health import Watch
from bridge.store.inspect import figures

PATIENCE = 2.0
"""Seconds that the web process or Redis has to answer."""


def web(settings: Settings) -> str:
    """Ask the web process; say that it lives. Raises BridgeError if it does not answer."""
    port = settings.port
    try:
        # Not urllib: it would ask the proxy that HTTP_PROXY names.
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        reason = f"{type(error).__name__} on port {port}"
        raise BridgeError(f"the web process does not answer ({reason})") from None
    if status != 200:  # noqa: PLR2004 - OK
        raise BridgeError(f"what answers on port {port} is no bridge (status {status})")
    return f"the web process answers on port {port}"


def worker(settings: Settings) -> str:
    """Say that a worker of this machine was heard from, or why none can be.

    One that waits for Redis lives: to end it would not help. Raises BridgeError if there
    is none although Redis is well.
    """
    url, verify = settings.redis_url, settings.redis_tls_verify
    redis = connect(url, verify_tls=verify, timeout=PATIENCE, most=1)
    machine = socket.gethostname()
    try:
        for name in figures(redis).heard:
            if name.rsplit("-", 2)[0] == machine:
                return f"the worker {name} was heard from"
        # Changes nothing, and is refused where a heartbeat is.
        redis.zadd(keys.WORKERS, {machine: 0}, xx=True)
    except RedisError as error:
        found = (*Watch.of(redis, settings).check().refusals, type(error).__name__)
        return f"nobody can hear of a worker, which waits: {found[0]}"
    raise BridgeError(f"no worker of {machine} was heard from for 15 seconds")


CHECKS: Mapping[str, Callable[[Settings], str]] = {"web": web, "worker": worker}


@click.command(cls=Command, json=False)
@click.argument("what", nargs=-1, required=True, type=click.Choice([*CHECKS]))
def alive(what: tuple[str, ...]) -> None:
    """Check whether the web or worker of this machine lives, for a container.

    Ends with 0 if each that is named does, else with 1. A worker that waits for Redis
    does.

    \b
    Example:
      python -m bridge alive web           after `serve`
      python -m bridge alive worker        after `python -m workers`
      python -m bridge alive web worker    after `run`
    """
    # No bridge.toml, which may have been edited meanwhile.
    values, problems = read_all(OPTIONS, os.environ, NO_VITALLY)
    if problems:
        raise ConfigError(problems)
    for name in what:
        say(CHECKS[name](Settings.of(values)))
