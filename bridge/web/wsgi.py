"""How a request that came by ASGI is put to a WSGI app, and what it answers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

Scope = Mapping[str, Any]
"""https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope"""

FIXED = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}


class Reply(NamedTuple):
    """What the Flask app answers."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def call(app: WSGIApplication, environ: dict[str, Any]) -> Reply:
    """Call a WSGI app, whose answers are whole and small."""
    told: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
        told[:] = int(status[:3]), headers

    found: Iterable[bytes] = app(environ, start)
    try:
        body = b"".join(found)
    finally:
        close = getattr(found, "close", None)
        if close is not None:
            close()
    status, headers = told
    return Reply(status, [(_bytes(n).lower(), _bytes(v)) for n, v in headers], body)


def environ_of(scope: Scope) -> dict[str, Any]:
    """Return what WSGI calls the request that ASGI describes."""
    path: bytes = scope["raw_path"]
    host, port = scope["server"]
    environ: dict[str, Any] = {
        **FIXED,
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": (unquote_to_bytes(path) if b"%" in path else path).decode(
            "latin-1"
        ),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.url_scheme": scope["scheme"],
    }
    for name, value in scope["headers"]:
        key, said = _key(name), value.decode("latin-1")
        environ[key] = f"{environ[key]},{said}" if key in environ else said
    return environ


@lru_cache(maxsize=256)
def _key(name: bytes) -> str:
    """Return WSGI's name of a header; senders use the same ones always."""
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
