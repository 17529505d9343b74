"""Who may see the console and act in it: HTTP Basic, CSRF tokens, headers of each answer.

Every page and asset is behind HTTP Basic. Every action is a POST with a CSRF token that
only our own pages have, because a browser adds the password of HTTP Basic to requests
that other sites trigger.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Response, abort, g, request
from werkzeug.datastructures import Authorization, WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from bridge.log import fields
from bridge.settings import User
from bridge.web.dashboard import PREFIX
from bridge.web.failures import WAIT, Failures, address

LOG = logging.getLogger("bridge.web")

QUIET = 1.0
"""Least seconds between two log lines about wrong passwords."""

HEADER = "X-CSRF-Token"
FIELD = "csrf"
"""An action carries the token in this header, or in this field of a form."""

REALM = WWWAuthenticate("basic", {"realm": "vitally-bridge", "charset": "UTF-8"})

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Of our own pages: nothing inline, and nothing from elsewhere."""

DASHBOARD_POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
    "style-src-elem 'self' 'nonce-{nonce}'; style-src-attr 'unsafe-inline'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Only scripts and style sheets with the page's nonce run, so text that was wrongly left
unescaped cannot add any. The dashboard's templates need `eval`, and its rows have style
attributes."""

STYLE = '<link rel="stylesheet" href="{}/static/queue.css"></head>'
BACK = '<body><a class="back" href="{}/">← vitally-bridge</a>'
"""What a page of rq-dashboard gets: a table that a phone can show, and a way back."""

SCRIPT = re.compile(r"<script(?=[\s>])")

INSERTED = re.compile(
    r"<%=\s*(?:\$\('<div/>'\)\.text\((?P<text>[^)]+)\)\.html\(\)|(?P<bare>.+?))\s*%>"
)
"""Places where rq-dashboard's templates insert a value unescaped; two of them escape it
themselves."""


class Guard:
    """Checks each request to the console, and adds security headers to each answer."""

    def __init__(self, users: Iterable[User], public_url: str | None) -> None:
        self._users = [(digest(user.name, user.password), user) for user in users]
        self._wrong = Failures(free=0, free_in_all=10, gap=1.0, longest=5.0)
        self._public_host = urlsplit(public_url).netloc if public_url else None

    def check(self) -> None:
        """Refuse a stranger (401), a wrong method (405), who may not or is led here (403).

        `g.user` is then who asks, and `g.token` what their actions must carry; "": they
        may do nothing.
        """
        g.nonce, g.token = secrets.token_urlsafe(16), ""
        given = authorization()
        shown = digest(given.username, given.password) if given else b""
        # All are compared, so that the time does not reveal which user there is.
        found = [u for own, u in self._users if hmac.compare_digest(own, shown)]
        if not found:
            if given:
                request.environ[WAIT] = self._wrong.wait(address(request.environ))
                if tries := self._wrong.slowed(QUIET):
                    LOG.warning("wrong console password", extra=fields(tries=tries))
            raise Unauthorized(www_authenticate=REALM)
        g.user = user = found[0]
        if user.acts:
            key = digest(user.name, user.password)
            g.token = hmac.new(key, b"console", sha256).hexdigest()
        if request.method not in {"GET", "HEAD", "OPTIONS"}:
            if not user.acts:
                abort(
                    403,
                    f"{user.name} has the role read-only: it sees all and does nothing.",
                )
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
            or not hmac.compare_digest(g.token.encode(), token.encode())
        ):
            abort(403, "This action did not come from a page of the console.")

    def seal(self, response: Response) -> Response:
        """Add the policy; a page of rq-dashboard needs more than that.

        What every answer gets, `bridge.web.front` adds.
        """
        is_dashboard = request.path.startswith(f"{PREFIX}/")
        policy = DASHBOARD_POLICY.format(nonce=g.nonce) if is_dashboard else POLICY
        response.headers["Content-Security-Policy"] = policy
        if response.location:
            # To a path alone: Flask's own redirects name the host that the request names.
            place = urlsplit(response.location)._replace(scheme="", netloc="").geturl()
            response.location = place
            response.set_data("")
        is_page = response.mimetype == "text/html"
        if is_dashboard and is_page and response.status_code == HTTPStatus.OK:
            html = response.get_data(as_text=True)
            response.set_data(self._sealed(html))
        return response

    def _sealed(self, html: str) -> str:
        """A page of rq-dashboard with the token that its actions need.

        The token stands in the page, not in a file: another site may load a script, but
        not read a page. The page's jQuery sends it with all that goes to our own origin.
        All that the page's templates insert is escaped: a sender may have written it.
        """
        script = (
            f"<script>window.jQuery && jQuery.ajaxPrefilter((o, _, xhr) => "
            f'o.crossDomain || xhr.setRequestHeader("{HEADER}", "{g.token}"));'
            f"</script></body>"
        )
        html = html.replace("</body>", script)
        html = html.replace("</head>", STYLE.format(request.script_root))
        html = html.replace("<body>", BACK.format(request.script_root))
        if not g.token:
            html = html.replace("<body>", '<body class="read-only">')
        html = html.replace('id="rq-instances"', 'id="rq-instances" aria-label="Redis"')
        html = SCRIPT.sub(f'<script nonce="{g.nonce}"', html)
        return INSERTED.sub(lambda m: f"<%- {m['text'] or m['bare']} %>", html)


def authorization() -> Authorization | None:
    """The request's; one that is not ASCII, on which werkzeug fails, is taken off."""
    try:
        return request.authorization
    except ValueError:
        del request.environ["HTTP_AUTHORIZATION"]
        return None


def digest(name: str | None, password: str | None) -> bytes:
    """A digest of both, so that comparing it does not reveal a length."""
    text = f"{name or ''}:{password or ''}"  # no name has a colon, says HTTP Basic
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
