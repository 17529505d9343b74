"""The page of what came in: every delivery, found by what it was, and what became of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from flask import request

from bridge.deliveries import RECEIPTS, Filter
from bridge.deliveries import deliveries as listing
from bridge.sources import every
from bridge.web.console.pages import Data, Pages, console
from bridge.wording import instant_of

pages = Pages("deliveries", "Deliveries")

TEXTS = ("source", "type", "receipt", "reason", "text")
TIMES = ("since", "until")
"""Fields of the form, called as those of `Filter`."""


@pages.page("/deliveries", "deliveries.html")
def deliveries() -> Data:
    """A page of the lines that the form in the address asks for, `?after=` a place."""
    asked = {name: request.args.get(name, "").strip() for name in (*TEXTS, *TIMES)}
    values: dict[str, Any] = {name: asked[name] for name in TEXTS}
    for name in TIMES:
        with suppress(ValueError):
            values[name] = instant_of(asked[name])
    here = console()
    found = listing(here.redis, Filter(**values), request.args.get("after", ""))
    return {
        "deliveries": found.lines,
        "next": found.next,
        "asked": {name: text for name, text in asked.items() if text},
        "receipts": RECEIPTS,
        "sources": sorted(one.name for one in every(here.settings.sources)),
    }
