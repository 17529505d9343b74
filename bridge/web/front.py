"""Between the server's loop and the Flask app: reads whole bodies, then calls Flask.

The loop reads requests and never waits for Redis: whatever may call Redis runs in a small
pool of threads. So a stalled sender costs a socket and no thread, and a stalled Redis
does not block `/healthz`. It refuses requests that can be read in two ways, and adds the
security headers to every answer.

The application side is ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from string import punctuation
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote_from_bytes, unquote_to_bytes

import orjson
from werkzeug.exceptions import abort

from bridge import telemetry
from bridge.config import Config
from bridge.settings import Settings
from bridge.sources import switched_on
from bridge.web import create_app
from bridge.web.console import ROOT
from bridge.web.failures import WAIT
from bridge.web.hooks import DELIVERIES, JSON, LIMIT, NOT_STORED, TURN

if TYPE_CHECKING:
    from flask import Flask

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

Reply = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body of the Flask app's answer."""

HOOKS = "/webhooks/"

BODY_SECONDS = 10.0
"""Seconds that a whole body may take."""

DROPPED = 8 * LIMIT
"""Most bytes of an unwanted body that are read and dropped after the answer.

Most HTTP clients would see a broken pipe instead of the answer if the connection closed
in the middle of their body. A client that announces more bytes, or waits for
`100 Continue`, is closed at once.
"""

HELD = 64 * LIMIT
"""Most bytes of unfinished bodies in memory, over all senders. Above this, the one that
began first is ended: so stalled senders neither fill the memory nor shut others out."""

WAITING = 512
"""Threads for deliveries where most of them wait for Redis' disk."""

PAGES = 4
"""Threads for pages and monitoring, separate so that they never hold up a delivery."""

QUEUED = 1.0
"""Seconds that a delivery may wait for a thread; with Redis' time-outs added, the answer
still comes within 2 s."""


class Unread:
    """Replaces `wsgi.input` if there is no body; reading it raises the reason."""

    def __init__(self, code: int, why: str) -> None:
        self.code, self._why = code, why

    def read(self, _size: int = -1) -> NoReturn:
        """Raise the HTTPException of the code."""
        abort(self.code, self._why)

    readline = read


TOO_LARGE = Unread(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is over 1 MiB")
"""Also used for any body that is not read; its bytes are dropped."""
ENDED_EARLY = Unread(HTTPStatus.BAD_REQUEST, "the body ended early")
TOO_LATE = Unread(HTTPStatus.REQUEST_TIMEOUT, "the body did not come within 10 s")
BUSY = Unread(HTTPStatus.SERVICE_UNAVAILABLE, NOT_STORED)


class Front:
    """An ASGI app around the Flask app *app*; where it *waits* for a disk, it has many threads.

    Among webhooks, only bodies for known *sources* are read.
    """

    def __init__(
        self, app: Flask, sources: Collection[str], waits: bool = False
    ) -> None:
        self._app = app.wsgi_app
        self._sources = sources
        self._queued = TURN if waits else QUEUED
        most = WAITING if waits else DELIVERIES
        self._deliveries = ThreadPoolExecutor(most, "delivery")
        self._pages = ThreadPoolExecutor(PAGES, "page")
        self._held = 0
        self._unfinished: Counter[asyncio.Timeout] = Counter()

    async def __call__(
        self, scope: Mapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Answer one request."""
        environ = environ_of(scope)
        length = body_length(environ)
        body: BytesIO | Unread = TOO_LARGE
        if doubt := ambiguity(scope, environ):
            reason = orjson.dumps({"error": "bad request", "reason": doubt})
            status, headers, answer = 400, [(b"content-type", JSON.encode())], reason
        else:
            reply = await self._reply(environ, length, receive)
            body, (status, headers, answer) = reply
        headers += seal(headers, environ["wsgi.url_scheme"])
        if isinstance(body, Unread):
            headers.append((b"connection", b"close"))
        drops = body is TOO_LARGE and "HTTP_EXPECT" not in environ
        if (wait := environ.get(WAIT)) is not None:
            environ.clear()  # a stranger's body is not held while he waits
            del body
            await asyncio.sleep(wait)
        start = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer})
        if drops:
            await _drop(length, receive)

    async def _reply(
        self, environ: dict[str, Any], length: int | None, receive: Receive
    ) -> tuple[BytesIO | Unread, Reply]:
        """Read the body of *length* bytes if it is wanted, and call the Flask app."""
        path = environ["PATH_INFO"]
        is_hook = path.startswith(HOOKS)
        is_read = (length or 0) <= LIMIT and (
            path.startswith(ROOT)
            or (
                is_hook
                and path.removeprefix(HOOKS) in self._sources
                and environ["REQUEST_METHOD"] == "POST"
            )
        )
        body: BytesIO | Unread = BytesIO()
        if length != 0:
            body = await self._body(length, receive) if is_read else TOO_LARGE
        environ["wsgi.input"] = body
        # These two do not call Redis, so they need no thread.
        if path == "/healthz" or (is_hook and not is_read):
            return body, self._call(environ)
        pool = self._deliveries if is_hook else self._pages
        latest = time.monotonic() + (self._queued if is_hook else sys.maxsize)
        loop = asyncio.get_running_loop()
        return body, await loop.run_in_executor(pool, self._call, environ, latest)

    async def _body(self, length: int | None, receive: Receive) -> BytesIO | Unread:
        """Return the whole body of *length* bytes (None: it comes in chunks)."""
        pieces: list[bytes] = []
        size = 0
        limit = asyncio.timeout(BODY_SECONDS)
        try:
            async with limit:
                more = True
                while more and size != length:
                    message = await receive()
                    if message["type"] != "http.request":
                        return ENDED_EARLY
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > LIMIT:
                        return TOO_LARGE
                    self._hold(limit, len(pieces[-1]))
                    more = message.get("more_body", False)
        except TimeoutError:
            return TOO_LATE if limit.when() else BUSY
        finally:
            self._held -= self._unfinished.pop(limit, 0)
        return BytesIO(b"".join(pieces)) if length in {None, size} else ENDED_EARLY

    def _hold(self, limit: asyncio.Timeout, more: int) -> None:
        """Note *more* bytes of the body under *limit*; end the oldest where it is too much."""
        self._unfinished[limit] += more
        self._held += more
        while self._held > HELD:
            oldest = next(iter(self._unfinished))
            self._held -= self._unfinished.pop(oldest)
            if not oldest.expired():
                oldest.reschedule(0)

    def _call(self, environ: dict[str, Any], latest: float = sys.maxsize) -> Reply:
        """Call the Flask app; a delivery that has waited beyond *latest* is refused."""
        if time.monotonic() > latest:
            environ["wsgi.input"] = BUSY
        begun: list[Any] = []

        def start(status: str, headers: list[Any], _error: Any = None) -> Any:
            begun[:] = int(status[:3]), headers

        answer: Iterable[bytes] = self._app(environ, start)
        try:
            body = b"".join(answer)
        finally:
            if hasattr(answer, "close"):
                answer.close()
        status, headers = begun
        encoded = [(n.lower().encode(), v.encode("latin-1")) for n, v in headers]
        return status, encoded, body


def front(settings: Settings, config: Config) -> Front:
    """Make the app, and the front before it."""
    telemetry.start(settings)
    waits = settings.bridge_durability == "fsync"
    sources = {source.name for source in switched_on(settings.sources)}
    return Front(create_app(settings, config), sources, waits)


async def _drop(length: int | None, receive: Receive) -> None:
    """Read and drop an unwanted body, within DROPPED and BODY_SECONDS."""
    left = DROPPED if length is None else length
    if left > DROPPED:
        return
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more and left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError:
        return


FIXED = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}


def environ_of(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return what WSGI calls the request that ASGI describes.

    A platform's router ends TLS and says so in `X-Forwarded-Proto`, the client's own
    hop first. Anybody may send that header; but all it decides is the scheme of the
    sender's own redirect, and of the address that a signature must fit.
    """
    path: bytes = scope["raw_path"]
    host, port = scope["server"]
    decoded = unquote_to_bytes(path) if b"%" in path else path
    environ: dict[str, Any] = {
        **FIXED,
        "REQUEST_METHOD": scope["method"],
        # As werkzeug routes it: a base address may have been entered with a slash.
        "PATH_INFO": "/" + decoded.decode("latin-1").lstrip("/"),
        # Werkzeug fails on bytes that are no UTF-8, but not on the same written with %.
        "QUERY_STRING": quote_from_bytes(scope["query_string"], punctuation),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.url_scheme": scope["scheme"],
    }
    for name, value in scope["headers"]:
        if b"_" in name:
            continue  # WSGI could not tell it from the same name with a dash
        key, text = environ_key(name), value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    forwarded = environ.get("HTTP_X_FORWARDED_PROTO", "").partition(",")[0]
    if (scheme := forwarded.strip().lower()) in {"http", "https"}:
        environ["wsgi.url_scheme"] = scheme
    return environ


@lru_cache(maxsize=256)
def environ_key(name: bytes) -> str:
    """Return WSGI's name of a header; senders use the same ones always."""
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def body_length(environ: Mapping[str, Any]) -> int | None:
    """Return the body's length in bytes; None: it comes in chunks."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None
    return int(environ.get("CONTENT_LENGTH") or 0)


READ = frozenset(
    b"content-length content-type sec-fetch-site transfer-encoding x-csrf-token "
    b"x-forwarded-for x-forwarded-proto".split()
)
"""Headers of which a second form with underscores is refused even without the first."""

HOST = re.compile(rb"[\w~%:\[\]-]{1,63}(\.[\w~%:\[\]-]{1,63})*\.?")
"""Labels as DNS has them: with any other, Flask can make no address, not even of a page
that says what is wrong."""


def ambiguity(scope: Mapping[str, Any], environ: Mapping[str, Any]) -> str:
    """Why a proxy before us might read the request otherwise than we do; "": it may not.

    What the server's parser lets through of RFC 9112, sections 3.2 and 6.1; it reports
    a missing Host as an empty one. A header with an underscore is ignored (Salesforce
    sends `SFDC_STACK_DEPTH`), unless it may pass for one that counts.
    """
    names = [name for name, _ in scope["headers"]]
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    is_old = scope["http_version"] != "1.1" and hosts == [b""]
    if len(hosts) != 1 or not (is_old or HOST.fullmatch(hosts[0])):
        return "there must be one Host header"
    for name in names:
        if b"_" in name and (twin := name.replace(b"_", b"-")) in READ.union(names):
            return f"the header {twin.decode('latin-1')} is written with an underscore"
    if environ.get("HTTP_TRANSFER_ENCODING", "chunked").lower() != "chunked":
        return "the only Transfer-Encoding is chunked"
    return ""


SEAL = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"same-origin",
    b"server": b"vitally-bridge",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
"""Headers of every answer that does not say otherwise."""

HSTS = (b"strict-transport-security", b"max-age=31536000")


def seal(headers: list[tuple[bytes, bytes]], scheme: str) -> list[tuple[bytes, bytes]]:
    """Return the security headers that an answer with *headers* still lacks."""
    given = {name for name, _ in headers}
    lacking = [row for row in SEAL.items() if row[0] not in given]
    return [*lacking, HSTS] if scheme == "https" else lacking
