"""The web process as a Flask app: hooks, health, metrics and the console's door."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface, SessionMixin
from redis import Redis
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from bridge.ingest import Ingress
from bridge.log import fields
from bridge.settings import Settings
from bridge.sources import every
from bridge.store.connect import connect
from bridge.store.health import Watch, flusher
from bridge.web.console import add_console
from bridge.web.health import JSON, add_health
from bridge.web.hooks import Flushed, Hooks, Receiver, add_hooks
from bridge.web.metrics import add_metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

LOG = logging.getLogger("bridge.web")

PATIENCE = 0.45
"""Seconds for each step towards Redis: a place among the connections, the connection,
the script and the job stay below 2 s together."""

CONNECTIONS = 8
"""A delivery needs one for about a millisecond; small Redis plans allow 20 in all."""


class NoSession(SessionInterface):
    """Flask's sessions, done without: nothing here asks for one."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        """Return the one session there is, which cannot be written."""
        return self._none

    def is_null_session(self, obj: object) -> bool:
        """Return True: there is never anything to save."""
        return True


def create_app(
    settings: Settings,
    *,
    ingress: Receiver | None = None,
    redis: Redis | None = None,
    watch: Watch | None = None,
) -> Flask:
    """Make the app; what is not given is made from *settings*, and a watch started.

    A *watch* that is given is the caller's to start and stop.
    """
    redis = redis or connect(
        settings.redis_url,
        verify_tls=settings.redis_tls_verify,
        timeout=PATIENCE,
        most=CONNECTIONS,
    )
    receiver: Receiver = ingress or Ingress(settings, redis, every(settings.sources))
    if settings.bridge_durability == "fsync":
        receiver = Flushed(receiver, flusher(redis))
    if watch is None:
        watch = _watch(redis, settings)
    app = Flask("bridge.web", static_folder=None, template_folder=None)
    app.session_interface = NoSession()
    app.url_map.merge_slashes = False
    public_url = settings.bridge_public_url
    add_hooks(app, Hooks(receiver, watch, settings.sources, public_url))
    add_health(app, redis, watch)
    add_metrics(app, redis, watch, settings.vitally_budget_share)
    add_console(app, settings, redis)
    app.register_error_handler(HTTPException, refuse)
    app.register_error_handler(Exception, fail)
    vars(app)["wsgi_app"] = as_called(app.wsgi_app)
    return app


def as_called(inner: WSGIApplication) -> WSGIApplication:
    """Return *inner* that is told the scheme the client used, not the last proxy.

    A platform's router ends TLS and says so in `X-Forwarded-Proto`, the client's own
    hop first. Anybody may send that header; but all it decides is the scheme of the
    sender's own redirect, and of the address that a signature must fit.
    """

    def outer(environ: dict[str, Any], start: StartResponse) -> Any:
        said = environ.get("HTTP_X_FORWARDED_PROTO")
        if said:
            scheme = said.partition(",")[0].strip().lower()
            if scheme in {"http", "https"}:
                environ["wsgi.url_scheme"] = scheme
        return inner(environ, start)

    return outer


def _watch(redis: Redis, settings: Settings) -> Watch:
    watch = Watch(
        redis,
        settings.bridge_allow_eviction,
        share=settings.bridge_redis_share,
        flushes=settings.bridge_durability == "fsync",
    )
    watch.start()
    return watch


def refuse(error: HTTPException) -> Response:
    """Answer in JSON what Flask would say in HTML."""
    headers: dict[str, str] = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    body = orjson.dumps({"error": error.name.lower()})
    return Response(body, error.code, headers, content_type=JSON)


def fail(error: Exception) -> Response:
    """Log what went wrong, and tell the client only that something did."""
    LOG.error("request failed", exc_info=error, extra=fields())
    return Response(orjson.dumps({"error": "internal error"}), 500, content_type=JSON)
