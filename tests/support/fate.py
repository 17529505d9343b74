"""Counts the calls of a process to Redis and to Vitally, and lets it die at one.

The processes are objects in this thread. Inside `felt` each of their calls goes by the
thread's `Fate`: a command of Redis or a pipeline, and a request to Vitally. Who has died
makes no call any more, so that nothing that Python still runs can tidy up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from hashlib import sha1
from typing import Any

import pytest
from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisLostError
from redis.exceptions import ResponseError
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import ProtocolError

from bridge.store.connect import LUA, load

BEFORE, AFTER, LOST = WAYS = ("before", "after", "lost")
"""It dies before the call; after it was done; or lives, and learns that the connection
broke, although the call was done."""

SILENT = frozenset({"HELLO", "CLIENT", "SELECT", "UNWATCH"})
"""What connections say when they begin and end; it changes nothing."""

SCRIPTS = {"EVALSHA", "EVAL"}


class Died(BaseException):
    """Raised at each call of a process that is dead."""


class Fate:
    """Counts *calls* while `is_counting`; at the one with number *at* strikes in *way*."""

    def __init__(self, at: int = -1, way: str = "") -> None:
        self.calls: list[str] = []
        self.at, self.way = at, way
        self.who = ""
        self.is_counting = self.is_dead = False
        self.open: set[Connection] = set()

    @contextmanager
    def lives(self, who: str) -> Iterator[None]:
        """Let the process *who* act inside; `is_dead` tells afterwards how it went."""
        self.who, self.is_dead = who, False
        try:
            yield
        except Died:
            assert self.is_dead
        finally:
            self.who = ""
            if self.is_dead:
                self.ends()

    def ends(self) -> None:
        """Close what is open, as the kernel does."""
        for connection in self.open:
            connection.disconnect()
        self.open.clear()

    @contextmanager
    def named(self, who: str) -> Iterator[None]:
        """Let another part of the same process act inside."""
        was, self.who = self.who, who
        try:
            yield
        finally:
            self.who = was

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Look at something inside that the process itself does not look at."""
        with self.named(""):
            yield

    def meets(self, call: str) -> str:
        """Count a call before it is made; the way in which it is struck, or ''."""
        if self.who and self.is_dead:
            raise Died
        if not (self.who and self.is_counting):
            return ""
        self.calls.append(f"{self.who}: {call}")
        if len(self.calls) - 1 != self.at:
            return ""
        if self.way == BEFORE:
            self.dies()
        return self.way

    def done(self, way: str, lost: Exception) -> None:
        """A call that was struck is done: die, or learn no more than that it is *lost*."""
        if way == AFTER:
            self.dies()
        raise lost

    def dies(self) -> None:
        """Die now."""
        self.is_dead = True
        raise Died


FATE: ContextVar[Fate] = ContextVar("fate", default=Fate())  # noqa: B039 (nobody acts in it)


@contextmanager
def felt() -> Iterator[None]:
    """Inside, each call goes by the `FATE` of its thread."""
    send, ask = Connection.send_packed_command, HTTPConnectionPool.urlopen

    def sent(self: Connection, command: Any, check_health: bool = True) -> None:
        calls = commands(command)
        is_silent, fate = calls[0][0].decode() in SILENT, FATE.get()
        way = "" if is_silent else fate.meets(f"redis {label(calls)}")
        if fate.who:
            fate.open.add(self)
        send(self, command, check_health)
        if way:
            for _ in calls:  # it is done once all is answered
                try:
                    self.read_response()
                except ResponseError:
                    continue
            self.disconnect()
            fate.done(way, RedisLostError("the reply is lost"))

    def asked(self: Any, method: str, url: str, *args: Any, **more: Any) -> Any:
        is_vitally = url.startswith(("/resources/", "/analytics/"))
        way = FATE.get().meets(f"vitally {method}") if is_vitally else ""
        response = ask(self, method, url, *args, **more)
        if way:
            response.close()
            FATE.get().done(way, ProtocolError("the reply is lost"))
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "send_packed_command", sent)
        patch.setattr(HTTPConnectionPool, "urlopen", asked)
        yield


def commands(packed: Any) -> list[list[bytes]]:
    """The commands, with their arguments, that are sent in one piece."""
    raw = packed if isinstance(packed, bytes) else b"".join(packed)
    found: list[list[bytes]] = []
    at = 0

    def number() -> int:
        nonlocal at
        end = raw.index(b"\r\n", at)
        value, at = int(raw[at + 1 : end]), end + 2
        return value

    while at < len(raw):
        words = []
        for _ in range(number()):
            size = number()
            words.append(raw[at : at + size])
            at += size + 2
        found.append(words)
    return found


def label(calls: list[list[bytes]]) -> str:
    """How a person reads it: `accept` for its script, else the commands."""
    names = [call[0].decode().upper() for call in calls]
    scripts = (
        by_digest().get(call[1].decode(), name) if name in SCRIPTS else name
        for name, call in zip(names, calls, strict=True)
    )
    return " ".join(scripts)


@cache
def by_digest() -> dict[str, str]:
    """SHA-1 of a script of ours -> its name."""
    names = [path.stem for path in LUA.glob("*.lua")]
    return {sha1(load(name).encode()).hexdigest(): name for name in names}
