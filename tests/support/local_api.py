"""A source's own API over real HTTP: replies with its clock, faults, and who asked what."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson

Json = dict[str, Any]


class Asked(NamedTuple):
    """One request as it came: path, query in order, headers, and the client's port.

    *body*: the JSON or the form of a POST.
    """

    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    client: int
    body: Any = None


class Reply(NamedTuple):
    """What is answered: bytes as they are, anything else as JSON."""

    body: Any = b"{}"
    status: int = 200
    headers: Mapping[str, str] = {}


class RefusedError(Exception):
    """Ends an answer with this *reply*."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


class LocalApi:
    """Runs inside `with`, on a free port; *clock* gives its `Date` (seconds)."""

    faults: Mapping[str, Reply] = {}
    """Replies that `fail` knows by name, beside `hang` and `reset`."""

    def __init__(self) -> None:
        self.clock: Callable[[], float] = time.time
        self.delay = 0.0
        self.log: list[Asked] = []
        self._faults: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.api = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, asked: Asked) -> Reply:
        """The reply to a request; may raise RefusedError."""
        raise NotImplementedError

    def fail(self, fault: str, times: int = 1, where: str = "") -> None:
        """Answer the next requests with a *fault*, those alone that *where* is in."""
        self._faults += [(fault, where)] * times

    def paths(self) -> list[str]:
        """The paths of all requests in order."""
        return [asked.path for asked in self.log]

    def reply(self, asked: Asked, url: str) -> Reply | None:
        """The answer or the next fault; None: the connection is to be reset."""
        self.log.append(asked)
        fault = self._next_fault(url)
        self._released.wait(60 if fault == "hang" else self.delay)
        if fault in {"hang", "reset"}:
            return None
        try:
            return self.faults[fault] if fault else self.answer(asked)
        except RefusedError as error:
            return error.reply

    def _next_fault(self, url: str) -> str | None:
        with self._lock:
            for n, (fault, where) in enumerate(self._faults):
                if where in url:
                    del self._faults[n]
                    return fault
        return None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class ByPath(LocalApi):
    """Has a reply for each path, with its query; 404 for any other."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: dict[str, Reply] = {}

    def answer(self, asked: Asked) -> Reply:
        query = f"?{urlencode(asked.query)}" if asked.query else ""
        return self.replies.get(asked.path + query, Reply({}, 404))


def form(body: str) -> Json:
    """A form's fields by name; one whose name ends in `[]` has a list."""
    read: Json = {}
    for name, value in parse_qsl(body, keep_blank_values=True):
        read[name] = [*read.get(name, ()), value] if name.endswith("[]") else value
    return read


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a reply is one packet: two would wait for one another

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_form = "form" in self.headers.get("Content-Type", "")
        self.do_GET(form(body.decode()) if is_form else orjson.loads(body))

    def do_GET(self, sent: Any = None) -> None:
        api: LocalApi = self.server.api  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        query, client = parse_qsl(url.query), self.client_address[1]
        asked = Asked(url.path, query, dict(self.headers), client, sent)
        reply = api.reply(asked, self.path)
        if reply is None:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return
        body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
        self.send_response_only(reply.status)
        own = {"Date": formatdate(api.clock(), usegmt=True)}
        own["Content-Length"] = str(len(body))
        for name, value in {**own, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the log is `LocalApi.log`."""
