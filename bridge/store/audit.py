"""Who did what in the console, and when: a capped list."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from redis import Redis

from bridge.store import keys
from bridge.store.connect import push, pushed

MOST = 1000
"""Actions that are remembered; the log has all."""


class Deed(NamedTuple):
    """One action: when (ms), the user, the action's name, and what came of it."""

    id: str
    at: int
    who: str
    did: str
    text: str


def record(redis: Redis, who: str, did: str, text: str) -> Deed:
    """Remember an action of this moment."""
    deed = Deed(secrets.token_hex(8), time.time_ns() // 1_000_000, who, did, text)
    push(redis, keys.AUDIT, tuple(deed), MOST)
    return deed


def forget(redis: Redis, ids: Iterable[str]) -> int:
    """Remove the actions that name one of *ids*; how many."""
    client: Any = redis
    lines = client.lrange(keys.AUDIT, 0, -1)
    named = [
        x for x in lines if any(i in " ".join(map(str, orjson.loads(x))) for i in ids)
    ]
    return sum(client.lrem(keys.AUDIT, 0, line) for line in named)


def latest(redis: Redis, most: int = MOST) -> list[Deed]:
    """Return the last actions, newest first."""
    return [Deed(*row) for row in pushed(redis, keys.AUDIT, most)]
