"""What a plain page of the console looks like: a heading and a sentence."""

from __future__ import annotations

from flask import Response
from markupsafe import escape

FORM = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title} - vitally-bridge</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto }}
</style>
<h1>{title}</h1>
<p>{said}</p>
"""


def page(title: str, said: str, status: int) -> Response:
    """Return a page; the texts are escaped."""
    body = FORM.format(title=escape(title), said=escape(said))
    return Response(body, status, mimetype="text/html")
