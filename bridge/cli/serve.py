"""`python -m bridge serve`: the web process."""

from __future__ import annotations

import os
import sys

import click


@click.command()
def serve() -> None:
    """Receive webhooks on PORT (the Procfile's `web`).

    \b
    Example:
      PORT=8000 python -m bridge serve
    """
    # Late: the other commands do not need a web server in their memory.
    from bridge import serve as web  # noqa: PLC0415
    from bridge.sources import load  # noqa: PLC0415

    sys.exit(web.serve(load(os.environ)[0]))
