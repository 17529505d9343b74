"""One script, called over a few connections of our own.

redis-py's client and pool cost more than all the rest of the way to Redis and back;
the connection itself (TLS, password, time-outs, hiredis) is redis-py's.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import sha1
from queue import Empty, SimpleQueue
from typing import Any

from redis import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

Call = Callable[[Sequence[Any]], Any]
"""Arguments of a script -> its reply; raises redis' own errors."""


def line(redis: Redis, script: str) -> Call:
    """Return the call of a *script*.

    A pool of another kind keeps its own ways: one that is led by sentinels follows
    their word.
    """
    if type(redis.connection_pool) is BlockingConnectionPool:
        return Line(redis, script)
    registered = redis.register_script(script)
    return lambda args: registered(args=args)


class Line:
    """Calls *script* over as many connections as the pool may have.

    Raises redis' own errors; nothing is sent twice.
    """

    def __init__(self, redis: Redis, script: str) -> None:
        self._pool: Any = redis.connection_pool
        self._script = script
        self._sha = sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._free: deque[Any] = deque()
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._pool.max_connections):
            self._places.put(None)

    def __call__(self, args: Sequence[Any]) -> Any:
        """Return the reply."""
        try:
            self._places.get(timeout=self._pool.timeout)
        except Empty:
            raise RedisConnectionError("no connection is free") from None
        try:
            return self._ask(self._kept() or self._new(), args)
        finally:
            self._places.put(None)

    def _kept(self) -> Any:
        """A connection from before that still stands, None where there is none.

        One on which there is something to be read was closed by the other side.
        """
        while self._free:
            try:
                connection = self._free.pop()
            except IndexError:
                break
            if not _readable(connection):
                return connection
            connection.disconnect()
        return None

    def _new(self) -> Any:
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def _ask(self, connection: Any, args: Sequence[Any]) -> Any:
        try:
            reply = self._reply(connection, args)
        except ResponseError:
            self._free.append(connection)
            raise
        except BaseException:
            connection.disconnect()
            raise
        self._free.append(connection)
        return reply

    def _reply(self, connection: Any, args: Sequence[Any]) -> Any:
        connection.send_command("EVALSHA", self._sha, 0, *args)
        try:
            return connection.read_response()
        except NoScriptError:
            connection.send_command("EVAL", self._script, 0, *args)
            return connection.read_response()


def _readable(connection: Any) -> bool:
    waiting = select.poll()
    waiting.register(connection._sock, select.POLLIN)  # noqa: SLF001 - no public way
    return bool(waiting.poll(0))
