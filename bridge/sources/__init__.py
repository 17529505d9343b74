"""The sources, found by looking: each folder here is one, with its `SOURCE`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from bridge.options import Option
from bridge.webhook.source import Options, Source


@cache
def discover() -> dict[str, Source]:
    """Return every source by its name."""
    modules = (import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__))
    sources: list[Source] = [module.SOURCE for module in modules]
    return {source.name: source for source in sources}


def options() -> list[Option]:
    """Return the settings that the sources bring, for whoever reads the environment."""
    return [option for source in discover().values() for option in source.options]


def switched_on(values: Options) -> list[Source]:
    """Return the sources that the settings' *values* switch on."""
    return [source for source in discover().values() if source.enabled(values)]
