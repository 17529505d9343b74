"""Who may see the console, and from where its actions may come.

Every page and asset is behind HTTP Basic. Every action is a POST that carries a token
which only our own pages hold; a browser would send the password of HTTP Basic along
with a request that any other site makes it send.
"""

from __future__ import annotations

import hmac
import re
import secrets
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Response, abort, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from bridge.web.body import WAITS
from bridge.web.console.page import STYLE_HASH
from bridge.web.console.tries import Tries

HEADER = "X-CSRF-Token"
FIELD = "csrf"

READS = frozenset({"GET", "HEAD", "OPTIONS"})

REALM = WWWAuthenticate("basic", {"realm": "vitally-bridge", "charset": "UTF-8"})

POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
    "style-src-elem 'self' '{style}'; style-src-attr 'unsafe-inline'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Only scripts with the page's nonce run, and no page brings a style sheet but our own:
text that is shown unescaped after all could do neither. The dashboard's templates need
`eval`, and its rows are coloured by attributes."""

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
"""Where a template of rq-dashboard's pages inserts a value as it is; two of the places
escape it by themselves."""


class Guard:
    """Checks each request to the console and seals each answer."""

    def __init__(self, username: str, password: str, public_url: str | None) -> None:
        self._name = _digest(username)
        self._password = _digest(password)
        self._token = hmac.new(password.encode(), b"console", sha256).hexdigest()
        self._tries = Tries()
        self._public_host = urlsplit(public_url).netloc if public_url else None

    def check(self) -> None:
        """Refuse a stranger (401), a wrong method (405), another site's action (403)."""
        g.nonce = secrets.token_urlsafe(16)
        if not self._is_known():
            if request.authorization is not None:
                request.environ.get(WAITS, []).append(self._tries.wrong())
            raise Unauthorized(www_authenticate=REALM)
        if request.method in READS:
            self._refuse_action()
        elif not self._is_ours():
            abort(403, "This action did not come from a page of the console.")

    def seal(self, response: Response) -> Response:
        """Add the security headers, and to a page the token that its actions need."""
        for name, value in SEAL.items():
            response.headers[name] = value
        response.headers["Content-Security-Policy"] = POLICY.format(
            nonce=g.nonce, style=STYLE_HASH
        )
        if response.mimetype == "text/html" and response.status_code == HTTPStatus.OK:
            response.set_data(self._with_token(response.get_data(as_text=True)))
        return response

    @property
    def token(self) -> str:
        """What an action has to carry, in HEADER or as the form's FIELD."""
        return self._token

    def _is_known(self) -> bool:
        given = request.authorization
        name = (given.username if given else None) or ""
        password = (given.password if given else None) or ""
        # Both are compared, whatever the first says: no telling which was wrong.
        right = hmac.compare_digest(self._name, _digest(name))
        return hmac.compare_digest(self._password, _digest(password)) and right

    def _refuse_action(self) -> None:
        """Refuse an action by GET, which one of rq-dashboard also answers to."""
        rule = request.url_rule
        if rule is not None and "POST" in (rule.methods or ()):
            abort(405)

    def _is_ours(self) -> bool:
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        origin = request.headers.get("Origin")
        hosts = {request.headers.get("Host"), self._public_host}
        given = request.headers.get(HEADER) or request.form.get(FIELD, "")
        return (
            site == "same-origin"
            and (origin is None or urlsplit(origin).netloc in hosts)
            and hmac.compare_digest(self._token.encode(), given.encode())
        )

    def _with_token(self, html: str) -> str:
        """Let the page's jQuery send the token with all that goes to our own origin.

        It stands in the page, not in a file: another site may load a script, but not
        read a page. And all that the page's templates insert is escaped: it may be what
        a sender wrote.
        """
        script = (
            f"<script>window.jQuery && jQuery.ajaxPrefilter((o, _, xhr) => "
            f'o.crossDomain || xhr.setRequestHeader("{HEADER}", "{self._token}"));'
            f"</script></body>"
        )
        marked = html.replace("</body>", script)
        marked = SCRIPT.sub(f'<script nonce="{g.nonce}"', marked)
        return INSERTED.sub(lambda m: f"<%- {m['text'] or m['bare']} %>", marked)


def _digest(text: str) -> bytes:
    """Of one length for all, so that the comparison tells nothing of it."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
