"""The network between the bridge and the simulated Vitally, and each way it fails.

A write has ended when the last byte of its answer is about to leave, or when its
connection is closed; whichever fault there is, that instant is logged.
"""

from __future__ import annotations

import http
import io
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from threading import Event
from typing import Any, NamedTuple

import orjson
from werkzeug.test import run_wsgi_app

from bridge.vitally.simulator import Handler
from tests.support.vitally.faults import Fault
from tests.support.vitally.traffic import Entry, monotonic_ms

_LONGEST = 120.0
"""Seconds after which the simulator gives up what it was told to hold."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends a reset."""


class Answer(NamedTuple):
    """What is answered; *headers* has the rate limit already."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Listening(Handler):
    """Keeps connections, and lets the *simulator* play each request with its fault."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, simulator: Any, *of_the_server: Any) -> None:
        self.simulator = simulator
        super().__init__(*of_the_server)

    def setup(self) -> None:
        super().setup()
        self.simulator.connections.add(self.connection)

    def finish(self) -> None:
        self.simulator.connections.discard(self.connection)
        super().finish()

    def parse_request(self) -> bool:
        self.started = monotonic_ms()
        return super().parse_request()

    def run_wsgi(self) -> None:
        length = self.headers.get("Content-Length", "0")
        self.content = self.rfile.read(int(length)) if length.isdigit() else b""
        self.close_connection |= not self.simulator.play(self)

    def answered(self) -> Answer:
        """Do what the request asks."""
        environ = self.make_environ() | {"wsgi.input": io.BytesIO(self.content)}
        parts, status, headers = run_wsgi_app(self.simulator.app, environ)
        return Answer(int(status[:3]), dict(headers), b"".join(parts))


@dataclass(slots=True)
class Exchange:
    """One request and its connection.

    *commit* does what the request asks; *idle* is an empty answer that does nothing.
    """

    connection: socket.socket
    entry: Entry
    fault: Fault
    commit: Callable[[], Answer]
    idle: Callable[[], Answer]
    end: Callable[[Entry], None]
    stop: Event

    def send(self, answer: Answer) -> bool:
        """Send a whole answer in one piece; the connection stays."""
        if self.entry.ended is None:
            self.entry.status = answer.status
            self.entry.remaining = int(answer.headers["RateLimit-Remaining"])
        self.end(self.entry)
        return self.push(http_bytes(answer))

    def dribble(self, content: bytes, pause: float) -> bool:
        """Send *content* a byte at a time; the connection does not stay."""
        for index in range(len(content)):
            if self._gone() or self.stop.is_set():
                break
            if not self.push(content[index : index + 1]):
                break
            self.wait(pause)
        return self.close()

    def wait(self, seconds: float, *, gone_ends: bool = False) -> None:
        """Wait; note when the client goes, and with *gone_ends* wait no longer."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.stop.is_set():
            if self._gone():
                if gone_ends:
                    return
                self.stop.wait(left)
                return
            readable, _, _ = select.select([self.connection], [], [], min(left, 0.05))
            if readable and not self._gone():
                self.stop.wait(0.01)  # a request behind this one: no reason to spin

    def close(self, *, reset: bool = False) -> bool:
        """Close the connection, perhaps with a reset."""
        self.end(self.entry)
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            # detached, since the handler's files would keep a mere close() waiting
            os.close(self.connection.detach())
        return False

    def _gone(self) -> bool:
        if gone(self.connection):
            self.end(self.entry)
            return True
        return False

    def push(self, content: bytes) -> bool:
        """Send bytes as they are; False where nobody takes them."""
        try:
            self.connection.sendall(content)
        except OSError:
            return False
        return True


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
    try:
        phrase = http.HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
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


def _answered(exchange: Exchange) -> bool:
    return exchange.send(exchange.commit())


def _status(exchange: Exchange) -> bool:
    idle, fault = exchange.idle(), exchange.fault
    status, said = fault.option("status"), fault.option("body")
    headers = dict(idle.headers)
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        headers["RateLimit-Remaining"] = "0"
    if isinstance(said, str):
        headers["Content-Type"] = "text/html; charset=utf-8"
    body = said.encode() if isinstance(said, str) else orjson.dumps(said)
    headers |= {name: str(text) for name, text in fault.option("headers").items()}
    return exchange.send(idle._replace(status=status, headers=headers, body=body))


def _redirect(exchange: Exchange) -> bool:
    idle = exchange.idle()
    headers = {**idle.headers, "Location": exchange.fault.option("location")}
    return exchange.send(idle._replace(status=302, headers=headers))


def _reset_before(exchange: Exchange) -> bool:
    return exchange.close(reset=True)


def _reset_after_commit(exchange: Exchange) -> bool:
    exchange.commit()
    return exchange.close(reset=True)


def _delay(exchange: Exchange) -> bool:
    # Done even where the client has gone: so a request that is still on its way
    # behaves, and so an older write may land after a newer one.
    exchange.wait(exchange.fault.option("seconds", 1.0))
    return exchange.send(exchange.commit())


def _timeout_after_commit(exchange: Exchange) -> bool:
    answer = exchange.commit()
    seconds = exchange.fault.option("seconds", _LONGEST)
    exchange.wait(seconds, gone_ends=True)
    return exchange.send(answer) if exchange.entry.ended is None else False


def _truncated(exchange: Exchange) -> bool:
    answer = exchange.commit()
    content = http_bytes(answer)
    exchange.entry.status = answer.status
    exchange.push(content[: len(content) - len(answer.body) // 2])
    return exchange.close()


def _non_json(exchange: Exchange) -> bool:
    answer = exchange.commit()
    headers = {**answer.headers, "Content-Type": "text/plain"}
    return exchange.send(answer._replace(status=200, headers=headers, body=b"all fine"))


def _oversize(exchange: Exchange) -> bool:
    filler = b'{"id": "' + b"x" * exchange.fault.option("bytes") + b'"}'
    exchange.send(exchange.commit()._replace(status=200, body=filler))
    return False


def _slow_headers(exchange: Exchange) -> bool:
    content = http_bytes(exchange.commit())
    return exchange.dribble(content, exchange.fault.option("seconds", 0.2))


def _slow_body(exchange: Exchange) -> bool:
    answer = exchange.commit()
    content = http_bytes(answer)
    head = len(content) - len(answer.body)
    exchange.entry.status = answer.status
    exchange.push(content[:head])
    return exchange.dribble(answer.body, exchange.fault.option("seconds", 0.2))


def _hang_up(exchange: Exchange) -> bool:
    exchange.send(exchange.commit())
    return False


PLAYED: Mapping[str, Callable[[Exchange], bool]] = {
    "answer": _answered,
    "status": _status,
    "redirect": _redirect,
    "reset_before": _reset_before,
    "delay": _delay,
    "timeout_after_commit": _timeout_after_commit,
    "reset_after_commit": _reset_after_commit,
    "truncated": _truncated,
    "non_json": _non_json,
    "oversize": _oversize,
    "slow_headers": _slow_headers,
    "slow_body": _slow_body,
    "hang_up": _hang_up,
}
"""Kind of fault -> how it is played; each returns whether the connection stays."""
