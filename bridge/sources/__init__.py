"""The sources, found by looking: each folder here is one, with its `SOURCE`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from bridge.webhook.source import Source


@cache
def discover() -> dict[str, Source]:
    """Return every source by its name."""
    modules = (import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__))
    sources: list[Source] = [module.SOURCE for module in modules]
    return {source.name: source for source in sources}
