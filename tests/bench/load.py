"""The load generator: ready-made requests over a few connections that are kept.

It works in the bench's own process, whose time nobody counts.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from selectors import EVENT_READ, DefaultSelector

HERE = "127.0.0.1"

CONNECTIONS = 4

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def deliver(port: int, requests: Iterable[bytes]) -> None:
    """Send all *requests*; AssertionError where one is not answered with 202."""
    statuses = drive(port, requests)
    assert statuses.keys() <= {202}, statuses


def drive(port: int, requests: Iterable[bytes]) -> Counter[int]:
    """Send all *requests*, each connection one after another; count the statuses.

    A server that does not keep a connection (gunicorn's sync worker) gets a new one.
    """
    left, statuses = iter(requests), Counter[int]()
    with DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            _send(selector, port, None, left)
        while selector.get_map():
            for key, _events in selector.select():
                answer = _answer(key.fileobj, key.data)
                if answer is None:
                    continue
                status, is_kept = answer
                statuses[status] += 1
                selector.unregister(key.fileobj)
                if not is_kept:
                    key.fileobj.close()
                _send(selector, port, key.fileobj if is_kept else None, left)
    return statuses


def _send(
    selector: DefaultSelector,
    port: int,
    peer: socket.socket | None,
    left: Iterator[bytes],
) -> None:
    """Send the next request, over *peer* or a new connection; or close *peer*."""
    request = next(left, None)
    if request is None:
        if peer:
            peer.close()
        return
    if peer is None:
        peer = socket.create_connection((HERE, port), timeout=10)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(request)
    selector.register(peer, EVENT_READ, bytearray())


def _answer(peer: socket.socket, so_far: bytearray) -> tuple[int, bool] | None:
    """Read on; (status, whether the connection is kept) once all of it is there."""
    piece = peer.recv(65536)
    if not piece:
        raise ConnectionError(f"closed after {bytes(so_far[:200])!r}")
    so_far += piece
    head, end, body = so_far.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    if not end or len(body) < int(length[1] if length else 0):
        return None
    return int(head[9:12]), b"connection: close" not in head.lower()
