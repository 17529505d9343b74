"""HTTP by hand: requests as bytes, also such as no client library would send."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


class Told(NamedTuple):
    """What came back until the server closed the connection, and after how long."""

    text: bytes
    seconds: float

    @property
    def statuses(self) -> list[int]:
        """The answers' statuses, one after another."""
        return [int(status) for status in STATUS.findall(self.text)]


def head(target: str, *headers: str, version: str = "1.1") -> bytes:
    """Return the head of a request, its end included."""
    lines = [f"{target} HTTP/{version}", "Host: bridge", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def send(
    port: int,
    *parts: bytes,
    ends: bool = False,
    gap: float = 0.0,
    answers: int = 99,
    within: float = 5.0,
) -> Told:
    """Send *parts*, *gap* seconds apart, and read *answers*, or until the server closes.

    *ends*: say first that there is no more. TimeoutError where nothing happens *within*
    seconds.
    """
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=within) as peer:
        for part in parts:
            try:
                peer.sendall(part)
            except OSError:
                break
            time.sleep(gap)
        if ends:
            peer.shutdown(socket.SHUT_WR)
        return Told(_rest(peer, answers), time.monotonic() - begun)


def _rest(peer: socket.socket, answers: int) -> bytes:
    found = b""
    while len(STATUS.findall(found)) < answers:
        try:
            piece = peer.recv(65_536)
        except ConnectionResetError:
            return found
        if not piece:
            return found
        found += piece
    return found


@contextmanager
def trickling(head: str = "", piece: bytes = b"A: b\r\n") -> Iterator[str]:
    """An address that answers one request with 60 pieces, until the client has gone."""

    def answer() -> None:
        sent, _ = server.accept()
        with sent, suppress(OSError):
            sent.recv(4096)
            sent.sendall(f"HTTP/1.1 200 OK\r\n{head}".encode())
            for _ in range(60):
                sent.sendall(piece)
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join()
