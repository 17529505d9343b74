"""What the bridge did in the last 24 hours: a sample of its figures a minute, and marks.

A mark is a moment at which somebody changed something: a deploy, settings, a pause. What
was before and what came after a mark is the first thing to look at when numbers change.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from hashlib import blake2s
from typing import Any, NamedTuple

import orjson
from redis import Redis

from bridge import __version__
from bridge.domain.clusters import Mark
from bridge.settings import OPTIONS, Option, Settings
from bridge.store import keys
from bridge.store.connect import push, pushed
from bridge.store.inspect import figures

EVERY = 60.0
"""Seconds between two samples."""

MOST_SAMPLES, MOST_MARKS = 24 * 60, 100


class Sample(NamedTuple):
    """Some of the figures *at* an instant (ms); see `inspect.Figures`."""

    at: int
    received: int
    accepted: int
    writes: int
    saved: int
    pending: int
    held: int
    parked: int
    oldest_ms: int | None


def take(redis: Redis) -> None:
    """Take a sample, unless another worker took one in this minute."""
    if not redis.set(keys.SAMPLED, "", nx=True, px=int(EVERY * 900)):
        return
    now = figures(redis)
    known = now._asdict() | {"at": now.now_ms}
    push(redis, keys.SAMPLES, [known[name] for name in Sample._fields], MOST_SAMPLES)


def samples(redis: Redis) -> list[Sample]:
    """Return the samples that there are, oldest first."""
    return pushed(redis, keys.SAMPLES, Sample)[::-1]


def mark(redis: Redis, text: str) -> None:
    """Note that somebody has changed something just now."""
    push(redis, keys.MARKS, [time.time_ns() // 1_000_000, text], MOST_MARKS)


def marks(redis: Redis) -> list[Mark]:
    """Return the marks, newest first."""
    return pushed(redis, keys.MARKS, Mark)


def mark_changes(
    redis: Redis, settings: Settings, rules: str, options: Iterable[Option]
) -> None:
    """Mark what is otherwise than when the last worker started: version, settings, rules.

    *options* are the sources' own. *rules* is the digest of
    `bridge.toml` and of the code that computes.
    """
    client: Any = redis
    values = {one.name: getattr(settings, one.name.lower()) for one in OPTIONS}
    values |= {one.name: settings.sources.get(one.name) for one in options}
    # Two bytes of a digest show most changes, and nothing of a secret.
    parts = {"version": __version__, "rules": rules} | {
        name: blake2s(repr(value).encode(), digest_size=2).hexdigest()
        for name, value in values.items()
    }
    before = orjson.loads(client.getset(keys.SETUP, orjson.dumps(parts)) or b"{}")
    if before.get("version") != __version__:
        mark(redis, f"deploy of {__version__}")
    changed = [name for name in parts if before.get(name, parts[name]) != parts[name]]
    if names := [name for name in changed if name != "version"]:
        mark(redis, f"change of {', '.join(names)}")


def rules_of_workers(redis: Redis) -> str:
    """Return the digest of the rules that the last worker started with; "": not known."""
    client: Any = redis
    return str(orjson.loads(client.get(keys.SETUP) or b"{}").get("rules", ""))
