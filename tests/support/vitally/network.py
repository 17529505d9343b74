"""The network between the bridge and the simulated Vitally, and each way it fails.

A write begins when its first line has arrived and ends when the last byte of its answer
is about to leave, or when its client has closed the connection, whichever comes first.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from fnmatch import fnmatchcase
from threading import Event
from typing import Any, NamedTuple

import orjson

LONGEST = 120.0
"""Seconds after which the simulator gives up what it was told to hold."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends a reset."""


class Answer(NamedTuple):
    """What is answered; *headers* has the rate limit already."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Entry:
    """One request; instants in monotonic milliseconds, the same for all processes.

    *committed* is when its effect was there, None where it had none. *overlap* tells
    that another write of the same account was in flight when this one began; it is
    exact, the instants as exact as threads are woken: a few milliseconds under load.
    """

    n: int
    method: str
    path: str
    account: str | None
    body: Any
    started: float
    committed: float | None = None
    ended: float | None = None
    status: int | None = None
    remaining: int | None = None
    cost: int = 0
    overlap: bool = False
    fault: str | None = None


@dataclass(slots=True)
class Fault:
    """What is to go wrong: *kind* is a method of `Exchange`, which says what it does.

    It strikes from the *nth* request on whose method and path *match* (shell patterns),
    *times* times (None: always). The rest are details, each of some kinds.
    """

    kind: str
    match: Mapping[str, Any] = field(default_factory=dict)
    times: int | None = 1
    status: int = 500
    body: Any = field(default_factory=lambda: {"error": "Internal Server Error"})
    headers: Mapping[str, str] = field(default_factory=dict)
    location: str = "http://127.0.0.1:9/resources/accounts"
    seconds: float | None = None
    bytes: int = 2 << 20
    seen: int = 0

    def __post_init__(self) -> None:
        assert self.kind in KINDS, f"a fault is one of {KINDS}"
        assert self.match.keys() <= {"method", "path", "nth"}, self.match

    def strikes(self, method: str, path: str) -> bool:
        """Count a request and tell whether this fault is its fate."""
        if not fnmatchcase(method, self.match.get("method", "*")):
            return False
        if not fnmatchcase(path, self.match.get("path", "*")):
            return False
        self.seen += 1
        before = self.match.get("nth", 1) - 1
        return before < self.seen <= before + (self.times or self.seen)


@dataclass(slots=True)
class Exchange:
    """One request and its connection.

    *commit* does what the request asks; *idle* is an empty answer that does nothing.
    Each kind of fault is a method, which returns whether the connection stays.
    """

    connection: socket.socket
    entry: Entry
    fault: Fault
    commit: Callable[[], Answer]
    idle: Callable[[], Answer]
    end: Callable[[Entry], None]
    stop: Event

    def answer(self) -> bool:
        """No fault: done and answered."""
        return self.send(self.commit())

    def status(self) -> bool:
        """Answered with `status`, `body`, `headers`; nothing is done."""
        idle, fault = self.idle(), self.fault
        headers = dict(idle.headers)
        if fault.status == http.HTTPStatus.TOO_MANY_REQUESTS:
            headers["RateLimit-Remaining"] = "0"
        is_text = isinstance(fault.body, str)
        if is_text:
            headers["Content-Type"] = "text/html; charset=utf-8"
        body = fault.body.encode() if is_text else orjson.dumps(fault.body)
        headers |= {name: str(text) for name, text in fault.headers.items()}
        return self.send(Answer(fault.status, headers, body))

    def redirect(self) -> bool:
        """Answered 302 to `location`; nothing is done."""
        idle = self.idle()
        headers = {**idle.headers, "Location": self.fault.location}
        return self.send(Answer(302, headers, b""))

    def reset_before(self) -> bool:
        """The connection is reset; nothing is done."""
        return self.close(reset=True)

    def delay(self) -> bool:
        """Done and answered after `seconds`.

        Done even where the client has gone: so a request that is still on its way
        behaves, and so an older write may land after a newer one.
        """
        self.wait(self.fault.seconds or 1.0)
        return self.send(self.commit())

    def timeout_after_commit(self) -> bool:
        """Done, never answered (`seconds`: answered then)."""
        answer = self.commit()
        self.wait(self.fault.seconds or LONGEST, gone_ends=True)
        return self.send(answer) if self.entry.ended is None else False

    def reset_after_commit(self) -> bool:
        """Done, then the connection is reset."""
        self.commit()
        return self.close(reset=True)

    def truncated(self) -> bool:
        """Done; half of the body, then the end."""
        answer = self.commit()
        content = http_bytes(answer)
        self.entry.status = answer.status
        self.push(content[: len(content) - len(answer.body) // 2])
        return self.close()

    def non_json(self) -> bool:
        """Done; answered 200 with a text."""
        headers = {**self.commit().headers, "Content-Type": "text/plain"}
        return self.send(Answer(200, headers, b"all fine"))

    def oversize(self) -> bool:
        """Done; answered with a body of `bytes`."""
        filler = b'{"id": "' + b"x" * self.fault.bytes + b'"}'
        self.send(self.commit()._replace(status=200, body=filler))
        return False

    def slow_headers(self) -> bool:
        """Done; a byte each `seconds`, from the first on."""
        return self.dribble(http_bytes(self.commit()))

    def slow_body(self) -> bool:
        """Done; a byte of the body each `seconds`."""
        answer = self.commit()
        self.entry.status = answer.status
        self.push(http_bytes(answer).removesuffix(answer.body))
        return self.dribble(answer.body)

    def hang_up(self) -> bool:
        """Done and answered; then the kept connection is closed unannounced."""
        self.send(self.commit())
        return False

    def send(self, answer: Answer) -> bool:
        """Send a whole answer in one piece; the connection stays."""
        if self.entry.ended is None:
            self.entry.status = answer.status
            left = answer.headers.get("RateLimit-Remaining")
            self.entry.remaining = None if left is None else int(left)
        self.end(self.entry)
        return self.push(http_bytes(answer))

    def dribble(self, content: bytes) -> bool:
        """Send *content* a byte at a time; the connection does not stay."""
        for index in range(len(content)):
            if self._gone() or self.stop.is_set():
                break
            if not self.push(content[index : index + 1]):
                break
            self.wait(self.fault.seconds or 0.2)
        return self.close()

    def wait(self, seconds: float, *, gone_ends: bool = False) -> None:
        """Wait; note when the client goes, and with *gone_ends* wait no longer."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.stop.is_set():
            if self._gone():
                if not gone_ends:
                    self.stop.wait(left)
                return
            readable, _, _ = select.select([self.connection], [], [], min(left, 0.05))
            if readable and not self._gone():
                self.stop.wait(0.01)  # a request behind this one: no reason to spin

    def close(self, *, reset: bool = False) -> bool:
        """Close the connection, perhaps with a reset."""
        self.end(self.entry)
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            # detached, since the handler's files would keep a mere close() waiting
            os.close(self.connection.detach())
        return False

    def push(self, content: bytes) -> bool:
        """Send bytes as they are; False where nobody takes them."""
        try:
            self.connection.sendall(content)
        except OSError:
            return False
        return True

    def _gone(self) -> bool:
        if gone(self.connection):
            self.end(self.entry)
            return True
        return False


KINDS = (
    "answer",
    "status",
    "redirect",
    "reset_before",
    "delay",
    "timeout_after_commit",
    "reset_after_commit",
    "truncated",
    "non_json",
    "oversize",
    "slow_headers",
    "slow_body",
    "hang_up",
)


def gone(connection: socket.socket) -> bool:
    """Tell whether the other side has closed *connection*."""
    try:
        peeked = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return peeked == b""


def http_bytes(answer: Answer) -> bytes:
    """Return the whole of an answer as it goes over the wire."""
    phrase = http.client.responses.get(answer.status, "Unknown")
    headers = {
        "Date": formatdate(usegmt=True),
        "Content-Type": "application/json; charset=utf-8",
        **answer.headers,
        "Content-Length": str(len(answer.body)),
    }
    if answer.status == http.HTTPStatus.NO_CONTENT:
        del headers["Content-Type"], headers["Content-Length"]
    lines = [f"{name}: {text}\r\n" for name, text in headers.items()]
    head = f"HTTP/1.1 {answer.status} {phrase}\r\n{''.join(lines)}\r\n"
    return head.encode("latin-1") + answer.body
