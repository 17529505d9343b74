"""What is read of a request's body, and why the rest of it is not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from werkzeug.exceptions import HTTPException

LIMIT = 1024 * 1024
"""Bytes of the largest body that is taken."""

HOOKS = "/webhooks/"
CONSOLE = "/console"

WAITS = "bridge.waits"
"""Where a request's environ takes the seconds that its answer is to wait, outside of
any thread; a list, since an app below another is given a copy of the environ."""


class Unread(HTTPException):
    """A body that is not there whole; *code* and *description* are for its sender."""

    code: int = 400
    description: str = "the body cannot be read"


class Incomplete(Unread):
    """The sender went away before the end of the body, or broke its form."""

    description = "the body ended early"


class TooLate(Unread):
    """The sender takes too long over it."""

    code = 408
    description = "the body did not come within 10 s"


class TooLarge(Unread):
    """The body is larger than LIMIT."""

    code = 413
    description = "the body is over 1 MiB"


class Busy(Unread):
    """There is no room or no time for it now."""

    code = 503
    description = "not stored, send it again"


class Failing:
    """Stands in `wsgi.input` for a body that is not there: to read it is to learn why.

    It keeps a class: an error would keep, by its traceback, the connection from closing.
    """

    def __init__(self, why: type[Unread]) -> None:
        self._why = why

    def read(self, _size: int = -1) -> NoReturn:
        """Raise what went wrong."""
        raise self._why()

    readline = read


def wanted(environ: Mapping[str, Any], sources: Collection[str]) -> bool:
    """Whether somebody will read this body; of no other is a byte waited for."""
    path = environ["PATH_INFO"]
    if path.startswith(HOOKS):
        is_ours = path.removeprefix(HOOKS) in sources
        return is_ours and environ["REQUEST_METHOD"] == "POST" and _may_fit(environ)
    return str(path).startswith(CONSOLE) and _may_fit(environ)


def _may_fit(environ: Mapping[str, Any]) -> bool:
    return (declared(environ) or 0) <= LIMIT


def declared(environ: Mapping[str, Any]) -> int | None:
    """Return the body's length in bytes; None: it comes in chunks."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None
    return int(environ.get("CONTENT_LENGTH") or 0)


def read(environ: Mapping[str, Any]) -> bytes:
    """Return the raw body; raises Unread."""
    length = declared(environ)
    if length is not None and length > LIMIT:
        raise TooLarge
    body: bytes = b""
    if length != 0:
        body = environ["wsgi.input"].read(LIMIT + 1 if length is None else length)
    if len(body) > LIMIT:
        raise TooLarge
    if length is not None and len(body) != length:
        raise Incomplete
    return body
