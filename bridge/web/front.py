"""From the server's loop to the Flask app: whole bodies in good time, and who waits where.

The loop reads what senders send and never waits for Redis: whatever may ask it is called
in a small pool of threads. So a sender that stalls costs a socket and no thread, and a
Redis that stalls keeps nobody from `/healthz`.

The application side is ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any

from bridge.settings import Settings
from bridge.store.health import MOST
from bridge.web import create_app
from bridge.web.body import (
    HOOKS,
    LIMIT,
    WAITS,
    Busy,
    Failing,
    Incomplete,
    TooLarge,
    TooLate,
    Unread,
    declared,
    wanted,
)
from bridge.web.hooks import sources_of
from bridge.web.wsgi import Reply, Scope, call, environ_of

if TYPE_CHECKING:
    from flask import Flask

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

BODY_SECONDS = 10.0
"""A body has so long as a whole, however it comes."""

DROPPED = 8 * LIMIT
"""Bytes that are dropped, after the answer, of a body that nobody wants.

To close in the middle of it reaches most HTTP clients as a broken pipe, and not as the
answer. Who announces more, or waits for `100 Continue`, is closed at once.
"""

HELD = 64 * LIMIT
"""Bytes of unfinished bodies in memory, all senders together; above it, larger ones
than SMALL are refused, so that nobody fills the memory with what never ends."""

SMALL = 16 * 1024

DELIVERIES = 8
"""Threads for deliveries: as many as there are connections to Redis."""

PAGES = 4
"""Threads for all that people and monitors look at: they never hold up a delivery."""

QUEUED = 1.0
"""Seconds that a delivery may wait for a thread; with what Redis may take then, the
answer is there within 2 s."""

AT_ONCE = frozenset({"/healthz"})
"""Paths that ask nobody, and so are answered on the loop itself."""


class Front:
    """An ASGI app round the Flask app *app*; *deliveries* are its threads for those."""

    def __init__(self, app: Flask, deliveries: int = DELIVERIES) -> None:
        self._app = app.wsgi_app
        self._sources = sources_of(app)
        self._deliveries = ThreadPoolExecutor(deliveries, "delivery")
        self._pages = ThreadPoolExecutor(PAGES, "page")
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        environ = environ_of(scope)
        is_whole = not _has_body(environ)
        environ |= {"wsgi.input": BytesIO(), WAITS: []}
        is_wanted = wanted(environ, self._sources)
        late = False
        if is_wanted and not is_whole:
            try:
                body = await self._whole(environ, receive)
                environ["wsgi.input"], is_whole = BytesIO(body), True
            except Unread as error:
                environ["wsgi.input"] = Failing(type(error))
                late = not isinstance(error, TooLarge)
        status, headers, answer = await self._reply(environ, is_wanted=is_wanted)
        if not is_whole:
            headers.append((b"connection", b"close"))
        if environ[WAITS]:
            await asyncio.sleep(sum(environ[WAITS]))
        start = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer})
        if not (is_whole or late):
            await _drop(environ, receive)

    async def _whole(self, environ: Mapping[str, Any], receive: Receive) -> bytes:
        """Return the whole body. Raises Unread."""
        length = declared(environ)
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while size != length:
                    piece, is_last = await _piece(receive)
                    pieces.append(piece)
                    size += len(piece)
                    self._held += len(piece)
                    if size > LIMIT:
                        raise TooLarge
                    if size > SMALL and self._held > HELD:
                        raise Busy
                    if is_last:
                        break
        except TimeoutError:
            raise TooLate from None
        finally:
            self._held -= size
        return b"".join(pieces)

    async def _reply(self, environ: dict[str, Any], *, is_wanted: bool) -> Reply:
        """Call the Flask app where it may take its time."""
        path = environ["PATH_INFO"]
        is_hook = path.startswith(HOOKS)
        if path in AT_ONCE or (is_hook and not is_wanted):
            return call(self._app, environ)
        pool = self._deliveries if is_hook else self._pages
        begun = time.monotonic()

        def run() -> Reply:
            if is_hook and time.monotonic() - begun > QUEUED:
                environ["wsgi.input"] = Failing(Busy)
            return call(self._app, environ)

        return await asyncio.get_running_loop().run_in_executor(pool, run)


def front(settings: Settings) -> Front:
    """Make the app, and the front before it; deliveries that wait for a disk are many."""
    waits = settings.bridge_durability == "fsync"
    return Front(create_app(settings), MOST if waits else DELIVERIES)


def _has_body(environ: Mapping[str, Any]) -> bool:
    return declared(environ) != 0


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """The next piece of a body, and whether it is the last. Raises Incomplete."""
    message = await receive()
    if message["type"] != "http.request":
        raise Incomplete
    return message.get("body", b""), not message.get("more_body")


async def _drop(environ: Mapping[str, Any], receive: Receive) -> None:
    """Read a body that nobody wants, within DROPPED and BODY_SECONDS."""
    left = declared(environ)
    if "HTTP_EXPECT" in environ or (left or 0) > DROPPED:
        return
    left = DROPPED if left is None else left
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while left > 0:
                piece, is_last = await _piece(receive)
                left = 0 if is_last else left - len(piece)
    except (TimeoutError, Incomplete):
        return
