"""Connections that keep one deadline over a whole exchange.

urllib3's time-outs count from one read to the next, so a peer that sends a byte a
second holds a caller for ever. Here every read, of headers too, gets only what is
left of the deadline, and nothing is sent once it has passed.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, cast

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class Exchange(threading.local):
    """The exchange that this thread is in.

    *until* is its end on the monotonic clock (seconds); *sent* turns True just before
    the first byte of the request may leave.
    """

    until: float = 0.0
    sent: bool = False

    def begin(self, seconds: float) -> None:
        """Start an exchange that may take *seconds*."""
        self.until = time.monotonic() + seconds
        self.sent = False

    def left(self) -> float:
        """Seconds that are left; raises TimeoutError where there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


class _TimedReader(io.RawIOBase):
    """Reads from a socket, each time with what is left of the deadline."""

    def __init__(
        self, raw: io.RawIOBase, sock: socket.socket, exchange: Exchange
    ) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._exchange.left())
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class TimedConnection(HTTPConnection):
    """A connection that keeps the deadline of its *exchange*."""

    def __init__(self, *args: Any, exchange: Exchange, **options: Any) -> None:
        super().__init__(*args, **options)
        self._exchange = exchange
        self.response_class = self._response  # type: ignore[assignment]

    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        if self.sock is None:
            self.connect()
        self._exchange.left()
        self._exchange.sent = True
        super().request(method, url, body, headers, **options)

    def _response(
        self, sock: socket.socket, *args: Any, **options: Any
    ) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(sock, *args, **options)
        timed = _TimedReader(response.fp.detach(), sock, self._exchange)
        response.fp = io.BufferedReader(timed)
        return response


class TimedTLSConnection(TimedConnection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = TimedConnection  # type: ignore[assignment]


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = TimedTLSConnection  # type: ignore[assignment]


def pool(
    scheme: str, host: str, port: int | None, exchange: Exchange
) -> HTTPConnectionPool:
    """Return a pool of a few kept-alive connections to one host.

    Proxies named in the environment are not used: the host is fixed.
    """
    kind: type[HTTPConnectionPool] = {"http": _Pool, "https": _TLSPool}[scheme]
    return kind(host, port, maxsize=4, block=False, exchange=exchange)
