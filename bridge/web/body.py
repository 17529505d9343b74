"""How the body of a request is read, and how too much of it is turned away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIMIT = 1024 * 1024
"""Bytes of the largest body that is taken."""

PATIENCE = 8 * LIMIT
"""Bytes that are read and dropped for a sender who listens only after it has sent all.

An answer in the middle of a body reaches most HTTP clients as a broken pipe. Whoever
announces even more, or waits for `100 Continue`, is answered at once.
"""

PIECE = 64 * 1024


class TooLarge(Exception):  # noqa: N818 - caught next door, never seen by a user
    """The body is larger than LIMIT."""


class Incomplete(Exception):  # noqa: N818
    """The sender went away before the end of the body."""


def read(environ: Mapping[str, Any]) -> bytes:
    """Return the raw body; raises TooLarge and Incomplete."""
    length = declared(environ)
    if length is None:
        return _read_chunked(environ)
    if length > LIMIT:
        drain(environ)
        raise TooLarge
    body: bytes = environ["wsgi.input"].read(length) if length else b""
    if len(body) != length:
        raise Incomplete
    return body


def drain(environ: Mapping[str, Any]) -> None:
    """Read a body that nobody wants, within PATIENCE."""
    length = declared(environ)
    wanted = PATIENCE if length is None else length
    if wanted <= PATIENCE and "HTTP_EXPECT" not in environ:
        _drop(environ["wsgi.input"], wanted)


def declared(environ: Mapping[str, Any]) -> int | None:
    """Return the body's length in bytes; None: it comes in chunks."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None
    return int(environ.get("CONTENT_LENGTH") or 0)


def _read_chunked(environ: Mapping[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    body: bytes = stream.read(LIMIT + 1)
    if len(body) > LIMIT:
        _drop(stream, PATIENCE - len(body))
        raise TooLarge
    return body


def _drop(stream: Any, wanted: int) -> None:
    while wanted > 0:
        piece = stream.read(min(PIECE, wanted))
        if not piece:
            return
        wanted -= len(piece)
