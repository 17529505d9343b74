"""The page that says whether all is well, and what became of all events."""

from __future__ import annotations

from typing import Any

from bridge.store.inspect import figures
from bridge.web.console.pages import Pages, console

pages = Pages("overview", "Overview")


@pages.page("/", "overview.html")
def overview() -> dict[str, Any]:
    """The figures of this moment."""
    return {"figures": figures(console().redis)}
