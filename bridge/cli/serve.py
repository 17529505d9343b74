"""`python -m bridge serve` (the web process) and `run` (web and worker)."""

from __future__ import annotations

import sys

import click

from bridge import log
from bridge import serve as web
from bridge.cli import Command, configured
from bridge.keep import keep
from bridge.stop import stop_event


@click.command(cls=Command, json=False)
def serve() -> None:
    """Receive webhooks on PORT (the Procfile's `web`).

    \b
    Example:
      PORT=8000 python -m bridge serve
    """
    sys.exit(web.serve(configured()[0]))


@click.command(cls=Command, json=False)
def run() -> None:
    """Run web and worker in one, for a small deployment.

    Each is started again when it dies, and both end with this process.

    \b
    Example:
      PORT=8000 python -m bridge run
    """
    settings, _ = configured()
    log.configure(settings.log_level, settings.log_format)
    sys.exit(keep([("bridge", "serve"), ("workers",)], stop_event()))
