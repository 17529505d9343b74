"""Redis: connections with time-outs, Redis' clock, and the bridge's scripts.

A script is one atomic step that changes the state and its counters. Each is a file in
`lua/`; its first lines say what it does, its KEYS, ARGV and RETURNS, and which other
files it USES. `lua/README.md` gives an overview.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import ResponseError
from redis.retry import Retry

LUA = Path(__file__).with_name("lua")

BATCH = 5000
"""Most calls in one round trip: more would take much memory, and hold up others."""

T = TypeVar("T")


def connect(url: str, *, verify_tls: bool, timeout: float, most: int) -> Redis:
    """Return a client with byte replies; nothing is sent yet.

    Waits *timeout* seconds for a connection, a reply or a free place among the
    *most* connections, and never tries again by itself: what to do about a failure
    is the caller's decision.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
    }
    scheme = urlsplit(url).scheme
    if scheme == "rediss" and not verify_tls:
        options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    if scheme != "unix":
        options["socket_keepalive"] = True
    places = {"max_connections": most, "timeout": timeout}
    pool = BlockingConnectionPool.from_url(url, **places, **options)
    # The pool is the client's: closed with it.
    return Redis.from_pool(pool)


def own_client(redis: Redis, *, timeout: float, most: int, **other: Any) -> Redis:
    """Return a client with connections of its own, and *other* options, to the same Redis."""
    pool = redis.connection_pool
    patience = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    return Redis(
        connection_pool=BlockingConnectionPool(  # type: ignore[no-untyped-call]
            connection_class=pool.connection_class,
            max_connections=most,
            timeout=timeout,
            **pool.connection_kwargs | patience | other,
        )
    )


def each(redis: Any, command: str, names: Iterable[str], *args: Any) -> list[Any]:
    """Call a *command* of Redis for each key in *names*, many in a trip; the replies."""
    replies: list[Any] = []
    with redis.pipeline(transaction=False) as pipe:
        for some in batches(names, BATCH):
            for name in some:
                getattr(pipe, command)(name, *args)
            replies += pipe.execute()
    return replies


def push(redis: Any, key: str, row: object, most: int) -> None:
    """Put a *row* of JSON at the head of a list that keeps *most*."""
    with redis.pipeline() as pipe:
        pipe.lpush(key, orjson.dumps(row))
        pipe.ltrim(key, 0, most - 1)
        pipe.execute()


def pushed(redis: Any, key: str, kind: Callable[..., T], most: int = 0) -> list[T]:
    """The rows of such a list as named tuples, newest first; 0: all of them."""
    found = (read(kind, line) for line in redis.lrange(key, 0, most - 1))
    return [one for one in found if one is not None]


def read(kind: Callable[..., T], line: bytes) -> T | None:
    """The named tuple in a *line* of JSON; None: there is none.

    Fields that a later version has added at its end are left out.
    """
    fields: Sequence[str] = kind._fields  # type: ignore[attr-defined]
    try:
        row = orjson.loads(line)
        if isinstance(row, dict):
            return kind(**{name: row[name] for name in fields if name in row})
        return kind(*row[: len(fields)])
    except (ValueError, TypeError, LookupError):
        return None


def named(redis: Redis, prefix: str) -> set[str]:
    """What follows *prefix* in the names of the keys that begin with it."""
    # A set: SCAN may return a key twice.
    found: Iterable[bytes] = redis.scan_iter(match=f"{prefix}*", count=1000)
    return {raw.decode(errors="surrogateescape")[len(prefix) :] for raw in found}


def batches(things: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield *things* in lists of *most*; the last may be shorter."""
    rest = iter(things)
    while some := [*islice(rest, most)]:
        yield some


def milliseconds(redis: Redis) -> int:
    """What time it is on Redis' clock."""
    seconds, micros = redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


def info(redis: Any, section: str) -> Mapping[str, Any]:
    """What Redis tells of itself; {}: nothing."""
    try:
        return dict(redis.info(section))
    except ResponseError:
        return {}


def run_id(redis: Any) -> str:
    """Which process of Redis this is; "": it does not tell."""
    return str(info(redis, "server").get("run_id", ""))


def leads(redis: Redis, key: str, name: str, ms: int) -> bool:
    """Whether the process of this *name* holds *key*; if so, for another *ms*."""
    if redis.set(key, name, nx=True, px=ms):
        return True
    if redis.get(key) != name.encode():
        return False
    redis.pexpire(key, ms)
    return True


class Scripts:
    """Calls the scripts in `lua/` by name. Raises redis' own errors."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._known: dict[str, Script] = {}

    def __call__(self, name: str, *args: str | bytes | float, **more: Any) -> Any:
        """Call the script of this *name*; *more* may hold its `keys`."""
        if name not in self._known:
            self._known[name] = self._redis.register_script(load(name))
        return self._known[name](args=args, **more)


class Store:
    """Reads and changes a part of the state. Raises redis' own errors."""

    def __init__(self, redis: Redis) -> None:
        # Not typed: redis-py's types allow for clients that answer later.
        self._redis: Any = redis
        self._run = Scripts(redis)


@cache
def load(name: str) -> str:
    """The text of a script, with the prelude and all that it uses before it."""
    own = _file(name)
    uses = re.search(r"^-- USES: (.+)$", own, re.MULTILINE)
    parts = ["prelude", *(uses[1].split() if uses else ())]
    return "\n".join([*map(_file, parts), own])


def _file(name: str) -> str:
    return (LUA / f"{name}.lua").read_text(encoding="utf-8")
