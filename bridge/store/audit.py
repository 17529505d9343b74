"""Who did what in the console, and when: a capped list."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from redis import Redis

from bridge.log import fields
from bridge.store import keys
from bridge.store.connect import milliseconds, push, pushed, read

LOG = logging.getLogger("bridge.web")

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
    """Remember an action of this moment, and log it."""
    deed = Deed(secrets.token_hex(8), milliseconds(redis), who, did, text)
    push(redis, keys.AUDIT, tuple(deed), MOST)
    LOG.info("console action", extra=fields(user=who, action=did, did=text))
    return deed


def forget(redis: Redis, ids: Iterable[str]) -> int:
    """Take *ids* out of the texts of actions, of how many; who did what, and when, stays."""
    named = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, ids))})(?![\w-])")
    client: Any = redis
    changed = 0
    for line in client.lrange(keys.AUDIT, 0, -1):
        deed = read(Deed, line)
        if deed and named.search(deed.text):
            without = deed._replace(text=named.sub("(forgotten)", deed.text))
            client.linsert(keys.AUDIT, "before", line, orjson.dumps(tuple(without)))
            changed += client.lrem(keys.AUDIT, 1, line)
    return changed


def latest(redis: Redis, most: int = MOST) -> list[Deed]:
    """Return the last actions, newest first."""
    return pushed(redis, keys.AUDIT, Deed, most)
