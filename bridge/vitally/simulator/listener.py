"""The simulator's socket server: raw enough to break off an answer anywhere."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Event
from typing import Any, NamedTuple

from bridge.vitally.simulator.routes import Request
from bridge.vitally.simulator.traffic import monotonic_ms


class Arrival(NamedTuple):
    """A whole request on its *connection* from the address *peer*.

    *started* is when its first line was there (monotonic milliseconds); *stop* is set
    when the server is about to end.
    """

    request: Request
    connection: socket.socket
    peer: str
    started: float
    stop: Event


class Listener(ThreadingTCPServer):
    """Reads requests and hands them to *respond*; False closes the connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], respond: Callable[[Arrival], bool]
    ) -> None:
        super().__init__(address, _Handler)
        self.respond = respond
        self.bound: tuple[str, int] = self.socket.getsockname()[:2]
        self.stopping = Event()
        self.connections: set[socket.socket] = set()

    def end(self) -> None:
        """Stop listening and cut every connection."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that breaks off is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def parse_request(self) -> bool:
        self._started = monotonic_ms()
        return super().parse_request()

    def log_message(self, *_: Any) -> None:
        """Say nothing: the request log is asked for."""

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        body = self.rfile.read(int(length)) if length.isdigit() else b""
        sent = self.headers.get("Authorization")
        at, clock = time.time_ns() // 1_000_000, time.monotonic()
        arrival = Arrival(
            Request(self.command, self.path, sent, body, at, clock),
            self.connection,
            self.client_address[0],
            self._started,
            self.server.stopping,
        )
        self.close_connection |= not self.server.respond(arrival)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815
