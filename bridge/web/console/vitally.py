"""What Vitally has at this moment: its list of accounts, and one with its health scores.

A page is one request to Vitally or two, each a unit of its rate limit. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Semaphore
from typing import Any

from flask import request

from bridge.domain.facts import organization_id
from bridge.errors import BridgeError, VitallyRefusedError
from bridge.vitally.client import PAGE, Vitally
from bridge.web.console.pages import Data, Pages, console

pages = Pages("vitally", "Vitally")

DEADLINE = 4.0
"""Seconds for one request: somebody waits for the page."""

TURNS = Semaphore(2)
"""Pages that may wait for Vitally at a time: others need the threads, monitoring too."""

WORDS = ("status", "sort", "cursor", "organization", "limit")
"""What may be asked of the list, as on the command line (`accounts list`)."""


@pages.page("/vitally", "vitally.html")
def listed() -> Data:
    """A page of the list: `?status=`, `?sort=`, `?organization=`, `?cursor=`, `?limit=`."""
    wanted: dict[str, Any] = {word: request.args.get(word) or None for word in WORDS}
    if wanted["status"] and wanted["organization"]:
        raise VitallyRefusedError("a status does not go with an organization")
    if wanted["limit"] not in {None, *map(str, range(1, PAGE + 1))}:
        raise VitallyRefusedError(f"the limit of a page is 1 to {PAGE}")
    with _asking() as vitally:
        page = vitally.accounts(**wanted)
    return {"wanted": wanted, **page._asdict()}


@pages.page("/vitally/<name:name>", "live.html")
def live(name: str) -> Data:
    """An account by its external id or Vitally's own; an organization has no health."""
    of = organization_id(name)
    with _asking() as vitally:
        data = {"asked": name, "account": vitally.get(name)}
        return data if of else {**data, "health": vitally.health(name)}


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
