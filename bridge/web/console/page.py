"""What a plain page of the console looks like: a heading and a sentence."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from flask import Response
from markupsafe import escape

STYLE = (
    "body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto }"
)
STYLE_HASH = f"sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}"
"""What the console's policy names it by."""

FORM = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title} - vitally-bridge</title>
<style>{style}</style>
<h1>{title}</h1>
<p>{said}</p>
"""


def page(title: str, said: str, status: int) -> Response:
    """Return a page; the texts are escaped."""
    body = FORM.format(style=STYLE, title=escape(title), said=escape(said))
    return Response(body, status, mimetype="text/html")
