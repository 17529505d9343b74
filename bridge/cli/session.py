"""What the commands share: settings, a Redis that answers, and readable output."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import orjson
from redis import Redis
from redis.exceptions import RedisError

from bridge.config import Config
from bridge.errors import StorageError
from bridge.plain import plain
from bridge.settings import Settings
from bridge.sources import load
from bridge.store.connect import connect

PATIENCE = 5.0
"""Seconds that a person waits for Redis."""


def settings(without: Collection[str] = ()) -> tuple[Settings, Config]:
    """Read settings and file from the environment. Raises ConfigError."""
    return load(os.environ, without)


def redis(found: Settings) -> Redis:
    """Return a Redis that answers. Raises StorageError, in words."""
    client = connect(
        found.redis_url, verify_tls=found.redis_tls_verify, timeout=PATIENCE, most=2
    )
    try:
        client.ping()
    except RedisError as error:
        kind = type(error).__name__
        raise StorageError(
            f"Redis does not answer ({kind}); is it running, and is REDIS_URL right?"
        ) from None
    return client


def table(rows: Iterable[Sequence[object]]) -> list[str]:
    """Return rows as lines with columns, as wide as they need to be."""
    texts = [[plain(str(cell)) for cell in row] for row in rows]
    if not texts:
        return []
    widths = [max(len(row[n]) for row in texts) for n in range(len(texts[0]))]
    lines = (
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in texts
    )
    return [line.rstrip() for line in lines]


def as_json(data: Mapping[str, Any] | Sequence[Any]) -> list[str]:
    """Return *data* for another program, as lines."""
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode().split("\n")


def ago(milliseconds: int) -> str:
    """A length of time a person can read."""
    seconds = milliseconds / 1000
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def moment(milliseconds: int) -> str:
    """An instant a person can read, UTC."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S")


def say(*lines: str) -> None:
    """Print lines; whatever a sender may have put into one, it stays one."""
    for line in lines:
        click.echo(plain(line))
