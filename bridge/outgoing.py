"""Outgoing HTTP: kept connections on which a request ends at the deadline of its thread.

urllib3's time-outs count from one read to the next, so a peer that sends a byte a second
would hold a caller for ever. Here every read, of headers too, gets only what is left
(`bridge.deadline`), and nothing is sent once that is over. Nothing is retried, and no
proxy of the environment is used.
"""

from __future__ import annotations

import http.client
import io
import socket
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, cast

from urllib3 import (
    BaseHTTPResponse,
    HTTPConnectionPool,
    HTTPSConnectionPool,
    PoolManager,
)
from urllib3.connection import HTTPConnection, HTTPSConnection

from bridge.deadline import left

PIECE, MOST = 1 << 16, 1 << 20
"""Most bytes that are read at once, and of a body."""


INTERIM = range(102, 200)
"""Statuses of an answer that another one follows; 101 would end HTTP itself."""


SENT: ContextVar[bool] = ContextVar("sent", default=False)
"""Becomes True just before the first byte of this thread's request may leave."""


def rest() -> float:
    """Seconds that are left; raises TimeoutError where there are none."""
    if (seconds := left()) <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds


class _TimedReader(io.RawIOBase):
    """Reads from a socket; a read gets the socket's time-out, or what is left if less."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw, self._sock, self._most = raw, sock, sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(min(rest(), self._most or rest()))
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock))

    def _read_status(self) -> tuple[str, int, str]:
        """Pass over any interim answer, not 100 alone (RFC 9110, 15.2).

        Python takes it for the answer, and what follows for that of the next request.
        """
        version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, HTTPStatus.CONTINUE if status in INTERIM else status, reason


class _TimedConnection(HTTPConnection):
    response_class = _Response

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()
        rest()
        SENT.set(True)
        super().request(*args, **options)


class _TimedTLSConnection(_TimedConnection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTLSConnection


def pools(**options: Any) -> PoolManager:
    """Pools of a few connections to each host, with *options* of urllib3."""
    manager = PoolManager(maxsize=4, retries=False, **options)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
    return manager


def content(response: BaseHTTPResponse, most: int = MOST) -> bytes:
    """The body of a *response*; of one of more than *most* bytes, the beginning alone.

    To be called within `with response`: a connection from which not all was read is
    closed there, so that what it is about cannot go on.
    """
    body = bytearray()
    # Read to the end: only there does urllib3 notice that a body is too short.
    while len(body) <= most and (piece := response.read(PIECE)):
        body += piece
    return bytes(body)


def ask(
    manager: PoolManager, method: str, url: str, most: int = MOST, **more: Any
) -> tuple[BaseHTTPResponse, bytes]:
    """Send a request; its response, and the `content` of that. No redirect is followed."""
    more |= {"redirect": False, "preload_content": False}
    with manager.request(method, url, **more) as response:
        return response, content(response, most)
