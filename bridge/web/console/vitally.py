"""What Vitally has at this moment: its list of accounts, and one with its health scores.

A page is one request to Vitally or two, each a unit of its rate limit. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Semaphore

from flask import request

from bridge.errors import BridgeError
from bridge.vitally.client import Vitally
from bridge.web.console.pages import Data, Pages, console

pages = Pages("vitally", "Vitally")

DEADLINE = 4.0
"""Seconds for one request: somebody waits for the page."""

TURNS = Semaphore(2)
"""Pages that may wait for Vitally at a time: others need the threads, monitoring too."""

WORDS = ("status", "sort", "cursor", "organization")
"""What may be asked of the list, as on the command line (`accounts list`)."""


@pages.page("/vitally", "vitally.html")
def listed() -> Data:
    """A page of the list: `?status=`, `?sort=`, `?organization=`, `?cursor=`, `?limit=`."""
    wanted = {word: request.args.get(word) or None for word in WORDS}
    with _asking() as vitally:
        page = vitally.accounts(limit=request.args.get("limit", type=int), **wanted)
    return {"wanted": wanted, **page._asdict()}


@pages.page("/vitally/<name:name>", "live.html")
def live(name: str) -> Data:
    """An account by its external id or Vitally's own."""
    with _asking() as vitally:
        return {"account": vitally.get(name), "health": vitally.health(name)}


@contextmanager
def _asking() -> Iterator[Vitally]:
    """A client for one page. Raises BridgeError while too many others wait for Vitally."""
    settings = console().settings
    base, key = settings.vitally_base_url, settings.vitally_authorization
    if not TURNS.acquire(blocking=False):
        raise BridgeError("Others wait for Vitally just now; try again in a moment")
    try:
        with closing(Vitally(base, key, deadline=DEADLINE)) as vitally:
            yield vitally
    finally:
        TURNS.release()
