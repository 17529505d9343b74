"""The console: pages for people at `/console`, in an app separate from the ingress.

`guard.py` decides who comes in. Each other module is one page, or a few that belong
together, and its template; `pages.py` has what they share.
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Iterable
from functools import cache, partial
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask, Response, render_template, request
from jinja2 import StrictUndefined
from redis import Redis
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Response as AnyResponse

from bridge.config import Config
from bridge.settings import Settings
from bridge.web.console.guard import Guard
from bridge.web.dashboard import PREFIX, add_dashboard
from bridge.web.health import Health
from bridge.web.hooks import JSON

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

LOG = logging.getLogger("bridge.web")

ROOT = "/console"

PAGES: tuple[str, ...] = ("overview", "accounts", "deliveries", "attention", "plan")
PAGES += ("vitally", "settings")
"""The modules with pages, in the order of the menu."""

ERRORS = tomllib.loads(files(__name__).joinpath("errors.toml").read_text("utf-8"))
"""Name of an error's class -> status, title and text of its page."""


def mount_console(
    app: Flask, settings: Settings, config: Config, redis: Redis, health: Health
) -> None:
    """Pass `/console…` on to the console; without users there is none.

    It is made when it is first asked for, so that a process whose console nobody opens
    does not carry its libraries.
    """
    if not settings.people:
        return
    made = cache(partial(create_console, settings, config, redis, health))

    def console(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        # Flask would redirect `/console` with the scheme and host that it sees.
        environ["PATH_INFO"] = environ["PATH_INFO"] or "/"
        return made()(environ, start)

    def data(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        # No copy: the guard notes in it how long the answer waits.
        environ |= {"SCRIPT_NAME": ROOT, "PATH_INFO": f"{environ['PATH_INFO']}/.json"}
        return made()(environ, start)

    mounts: dict[str, WSGIApplication] = {ROOT: console, f"{ROOT}.json": data}
    mounted = DispatcherMiddleware(app.wsgi_app, mounts)
    app.wsgi_app = mounted  # type: ignore[method-assign]


def create_console(
    settings: Settings, config: Config, redis: Redis, health: Health
) -> Flask:
    """Make the console's app; its own paths begin at the root."""
    # Imported here: nobody pays for pages that nobody opens.
    from bridge.web.console import pages  # noqa: PLC0415

    app = Flask(__name__)
    app.url_map.merge_slashes = False  # an account's id may have two
    app.url_map.converters["name"] = pages.Name
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.globals["active_tab"] = ""  # rq-dashboard leaves it out of some pages
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters |= pages.FILTERS
    guard = Guard(settings.people, settings.bridge_public_url)
    app.before_request(guard.check)
    app.after_request(guard.seal)
    app.register_error_handler(HTTPException, refused)
    app.register_error_handler(Exception, failed)
    console = pages.Console(settings, config, redis, health, os.environ)
    app.extensions[pages.EXTENSION] = console
    app.context_processor(pages.frame)
    for name in PAGES:
        app.register_blueprint(import_module(f"{__name__}.{name}").pages)
    add_dashboard(app, redis)
    return app


def problem(title: str, text: str) -> str | bytes:
    """A page of a heading and a sentence; for a page's JSON, an object of the two."""
    if request.path.endswith(".json") and not request.path.startswith(f"{PREFIX}/"):
        return orjson.dumps({"error": title, "reason": text})
    return render_template("page.html", title=title, text=text)


def refused(error: HTTPException) -> AnyResponse:
    """Say in a plain page what Flask would, with its headers."""
    answer = error.get_response()
    body = problem(error.name, error.description or "")
    answer.set_data(body)
    if isinstance(body, bytes):
        answer.content_type = JSON
    return answer


def failed(error: Exception) -> Response:
    """A page that names the error; for an unexpected one, only that there was one."""
    names = [kind.__name__ for kind in type(error).__mro__]
    name = next(name for name in names if name in ERRORS)
    if name == Exception.__name__:
        LOG.error("console page failed", exc_info=error)
    row = ERRORS[name]
    body = problem(row["title"], row["text"].format(error=error))
    kind = JSON if isinstance(body, bytes) else None
    return Response(body, row["status"], content_type=kind)
