"""The console: pages for people, in an app separate from the ingress.

Every page and asset is behind HTTP Basic. Every action is a POST with a CSRF token that
only our own pages have, because a browser adds the password of HTTP Basic to requests
that other sites trigger.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, Response, abort, g, redirect, render_template, request
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException, Unauthorized
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response as AnyResponse

from bridge.log import fields
from bridge.settings import Settings
from bridge.web.dashboard import add_dashboard

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

LOG = logging.getLogger("bridge.web")

ROOT = "/console"

WAIT = "bridge.wait"
"""Key in a request's environ: seconds to delay the answer, without blocking a thread."""

HEADER = "X-CSRF-Token"
FIELD = "csrf"
"""An action carries the token in this header, or in this field of a form."""

REALM = WWWAuthenticate("basic", {"realm": "vitally-bridge", "charset": "UTF-8"})

POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
    "style-src-elem 'self' 'nonce-{nonce}'; style-src-attr 'unsafe-inline'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Only scripts and style sheets with the page's nonce run, so text that was wrongly left
unescaped cannot add any. The dashboard's templates need `eval`, and its rows have style
attributes."""

SEAL = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

SCRIPT = re.compile(r"<script(?=[\s>])")

INSERTED = re.compile(
    r"<%=\s*(?:\$\('<div/>'\)\.text\((?P<text>[^)]+)\)\.html\(\)|(?P<bare>.+?))\s*%>"
)
"""Places where rq-dashboard's templates insert a value unescaped; two of them escape it
themselves."""


ERRORS: dict[type[Exception], tuple[int, str, str]] = {
    NoSuchJobError: (
        404,
        "No such job",
        "It has finished and expired, or never existed.",
    ),
    InvalidJobOperation: (
        409,
        "Not done",
        "The job is not in a state that allows this.",
    ),
    # Redis answered but refused, for example to compact an empty queue.
    ResponseError: (409, "Not done", "Redis says: {error}."),
    RedisError: (
        503,
        "Redis does not answer",
        "The console shows what is in Redis; try again when Redis answers.",
    ),
    Exception: (
        500,
        "Something went wrong",
        "The log of the web process has the details.",
    ),
}
"""Error -> status, title and text of its page."""


def mount_console(app: Flask, settings: Settings, redis: Redis) -> None:
    """Pass `/console…` on to the console; without a password there is none.

    It is made when it is first asked for, so that a process whose console nobody opens
    does not carry its libraries.
    """
    if not settings.console_password:
        return
    made = cache(partial(create_console, settings, redis))

    def console(environ: dict[str, Any], start: StartResponse) -> Any:
        # Flask would redirect `/console` with the scheme and host that it sees.
        environ["PATH_INFO"] = environ["PATH_INFO"] or "/"
        return made()(environ, start)

    mounted = DispatcherMiddleware(app.wsgi_app, {ROOT: console})
    app.wsgi_app = mounted  # type: ignore[method-assign]


def create_console(settings: Settings, redis: Redis) -> Flask:
    """Make the console's app; its own paths begin at the root."""
    app = Flask(__name__)
    guard = Guard(
        settings.console_username,
        settings.console_password or "",
        settings.bridge_public_url,
    )
    app.before_request(guard.check)
    app.after_request(guard.seal)
    app.register_error_handler(HTTPException, refused)
    for kind in ERRORS:
        app.register_error_handler(kind, failed)
    app.add_url_rule("/", "start", start)
    add_dashboard(app, redis)
    return app


def start() -> AnyResponse:
    """Send the visitor to the queues."""
    return redirect(f"{request.script_root}/queues/")


def page(title: str, text: str) -> str:
    """Return a page of a heading and a sentence."""
    return render_template("page.html", title=title, text=text)


def refused(error: HTTPException) -> AnyResponse:
    """Say in a plain page what Flask would, with its headers."""
    answer = error.get_response()
    if not isinstance(error, RequestRedirect):
        answer.set_data(page(error.name, error.description or ""))
    return answer


def failed(error: Exception) -> tuple[str, int]:
    """A page that names the error; for an unexpected one, only that there was one."""
    kind = next(kind for kind in type(error).__mro__ if kind in ERRORS)
    status, title, text = ERRORS[kind]
    if kind is Exception:
        LOG.error("console page failed", exc_info=error)
    return page(title, text.format(error=error)), status


class Guard:
    """Checks each request to the console, and adds security headers to each answer."""

    def __init__(self, username: str, password: str, public_url: str | None) -> None:
        self._name, self._password = digest(username), digest(password)
        self._token = hmac.new(password.encode(), b"console", sha256).hexdigest()
        self._tries = Tries()
        self._public_host = urlsplit(public_url).netloc if public_url else None

    def check(self) -> None:
        """Refuse a stranger (401), a wrong method (405), another site's action (403)."""
        g.nonce = secrets.token_urlsafe(16)
        given = request.authorization
        name, password = (given.username, given.password) if given else ("", "")
        # Always compare both, so that the time does not reveal which one was wrong.
        right = hmac.compare_digest(self._name, digest(name))
        if not hmac.compare_digest(self._password, digest(password)) or not right:
            if given:
                request.environ[WAIT] = self._tries.wrong()
            raise Unauthorized(www_authenticate=REALM)
        if request.method not in {"GET", "HEAD", "OPTIONS"}:
            self._refuse_others()
        elif request.url_rule and "POST" in (request.url_rule.methods or ()):
            abort(405)  # rq-dashboard has an action that GET does, too

    def _refuse_others(self) -> None:
        """Refuse an action that did not come from a page of ours."""
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        origin = request.headers.get("Origin")
        hosts = {request.headers.get("Host"), self._public_host}
        token = request.headers.get(HEADER) or request.form.get(FIELD, "")
        if (
            site != "same-origin"
            or (origin is not None and urlsplit(origin).netloc not in hosts)
            or not hmac.compare_digest(self._token.encode(), token.encode())
        ):
            abort(403, "This action did not come from a page of the console.")

    def seal(self, response: Response) -> Response:
        """Add the security headers, and to a page the token that its actions need.

        The token stands in the page, not in a file: another site may load a script, but
        not read a page. The page's jQuery sends it with all that goes to our own origin.
        All that the page's templates insert is escaped: a sender may have written it.
        """
        response.headers.update(SEAL)
        policy = POLICY.format(nonce=g.nonce)
        response.headers["Content-Security-Policy"] = policy
        if response.mimetype == "text/html" and response.status_code == HTTPStatus.OK:
            script = (
                f"<script>window.jQuery && jQuery.ajaxPrefilter((o, _, xhr) => "
                f'o.crossDomain || xhr.setRequestHeader("{HEADER}", "{self._token}"));'
                f"</script></body>"
            )
            html = response.get_data(as_text=True).replace("</body>", script)
            html = SCRIPT.sub(f'<script nonce="{g.nonce}"', html)
            html = INSERTED.sub(lambda m: f"<%- {m['text'] or m['bare']} %>", html)
            response.set_data(html)
        return response


def digest(text: str | None) -> bytes:
    """A digest, so that the comparison does not reveal the length."""
    return sha256((text or "").encode("utf-8", "surrogatepass")).digest()


FIRST = 0.1
"""Seconds that the answer to a first wrong password is delayed, doubled each time. The
right password is never delayed, so nobody can lock its owner out."""

GAP = 1.0
"""Most seconds between two answers."""

LONGEST = 10.0
"""Most seconds that an answer is delayed."""

FORGET = 60.0
"""After this many seconds without a wrong password the delay starts over."""

QUIET = 1.0
"""Least seconds between two log lines, so that attackers cannot fill the log."""


class Tries:
    """Wrong passwords in this process, and the delay of their answers.

    All guesses share one clock, so more connections do not make guessing faster.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._count = 0
        self._last = self._next = self._logged = float("-inf")

    def wrong(self) -> float:
        """Note one more; return how many seconds its answer waits."""
        with self._lock:
            now = self._clock()
            if now - self._last > FORGET:
                self._count = 0
            self._count, self._last = self._count + 1, now
            gap = min(GAP, FIRST * 2 ** min(self._count - 1, 10))
            self._next = min(max(now, self._next) + gap, now + LONGEST)
            if now - self._logged >= QUIET:
                self._logged = now
                LOG.warning("wrong console password", extra=fields(tries=self._count))
            return self._next - now
