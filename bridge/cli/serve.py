"""`python -m bridge serve`: the web process."""

from __future__ import annotations

import sys

import click

from bridge import serve as web
from bridge.cli.session import configured


@click.command()
def serve() -> None:
    """Receive webhooks on PORT (the Procfile's `web`).

    \b
    Example:
      PORT=8000 python -m bridge serve
    """
    sys.exit(web.serve(configured()[0]))
