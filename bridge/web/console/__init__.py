"""The console: pages for people, an app of their own behind the ingress.

It is a separate app so that its guard covers every page and asset without costing a
delivery anything, and it is made when it is first asked for, so that a process whose
console nobody opens does not carry its libraries.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, redirect, request
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect, Rule
from werkzeug.wrappers import Response as AnyResponse

from bridge.settings import Settings
from bridge.web.console.guard import Guard
from bridge.web.console.page import page
from bridge.web.console.queues import add_queues

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

LOG = logging.getLogger("bridge.web")

ROOT = "/console"


def add_console(app: Flask, settings: Settings, redis: Redis) -> None:
    """Pass `/console…` on to the console; without a password there is none."""
    if not settings.console_password:
        return
    made = cache(lambda: create_console(settings, redis))

    def console(rest: str = "") -> WSGIApplication:
        return below_root(made().wsgi_app)

    for rule in (ROOT, f"{ROOT}/", f"{ROOT}/<path:rest>"):
        app.url_map.add(Rule(rule, endpoint="console"))
    app.view_functions["console"] = console


def below_root(inner: WSGIApplication) -> WSGIApplication:
    """Return *inner* as it looks from above ROOT."""

    def outer(environ: dict[str, Any], start: StartResponse) -> Any:
        below = {
            "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + ROOT,
            "PATH_INFO": environ["PATH_INFO"].removeprefix(ROOT) or "/",
        }
        return inner(environ | below, start)

    return outer


def create_console(settings: Settings, redis: Redis) -> Flask:
    """Make the console's app, which believes to be at the root."""
    app = Flask("bridge.web.console", template_folder=None)
    guard = Guard(
        settings.console_username,
        settings.console_password or "",
        settings.bridge_public_url,
    )
    app.before_request(guard.check)
    app.after_request(guard.seal)
    app.register_error_handler(HTTPException, refuse)
    app.register_error_handler(RedisError, no_redis)
    app.register_error_handler(ResponseError, not_done)
    app.register_error_handler(Exception, fail)
    app.add_url_rule("/", "start", start)
    add_queues(app, redis)
    return app


def start() -> AnyResponse:
    """Send the visitor to the queues."""
    return redirect(f"{request.script_root}/queues/")


def refuse(error: HTTPException) -> AnyResponse:
    """Say in a plain page what Flask would; keep a redirect and the 401's header."""
    if isinstance(error, RequestRedirect):
        return redirect(error.new_url, error.code)
    answer = page(error.name, error.description or "", error.code or 500)
    for name, value in error.get_headers():
        if name not in {"Content-Type", "Content-Length"}:
            answer.headers[name] = value
    return answer


def no_redis(error: RedisError) -> Response:
    """Say that Redis is away."""
    said = "The console shows what is in Redis; it will be back when Redis is."
    return page("Redis does not answer", said, 503)


def not_done(error: ResponseError) -> Response:
    """Say that Redis is there and did not do it: to compact an empty queue, say."""
    return page("Not done", f"Redis says: {error}.", 409)


def fail(error: Exception) -> Response:
    """Log what went wrong, and tell the visitor only that something did."""
    LOG.error("console page failed", exc_info=error)
    return page("Something went wrong", "The log of the web process says more.", 500)
