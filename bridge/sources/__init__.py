"""The sources, found by looking: each folder here is one, with its `SOURCE`.

A folder without one (`generic`) makes sources out of tables in `bridge.toml`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from bridge import config
from bridge.config import Config, Tables
from bridge.options import Option
from bridge.settings import Settings
from bridge.webhook.source import Options, Source


@cache
def discover() -> dict[str, Source]:
    """Return every source of its own by its name."""
    modules = (import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__))
    sources: list[Source] = [m.SOURCE for m in modules if hasattr(m, "SOURCE")]
    return {source.name: source for source in sources}


def options() -> list[Option]:
    """Return the settings that the sources bring, for whoever reads the environment."""
    return [option for source in discover().values() for option in source.options]


def load(
    environ: Mapping[str, str], without: Collection[str] = ()
) -> tuple[Settings, Config]:
    """Read the environment and `bridge.toml`, the sources' part of both included.

    *without* names required variables that the caller can do without. Raises
    ConfigError with all problems.
    """
    return config.load(environ, options(), without, tables)


def every(values: Options) -> list[Source]:
    """Return all sources there are under the settings' *values*."""
    return list(discover().values())


def switched_on(values: Options) -> list[Source]:
    """Return the sources that the settings' *values* switch on."""
    return [source for source in every(values) if source.enabled(values)]


def tables(said: Mapping[str, Any]) -> Tables:
    """Read the tables below `[sources]` of `bridge.toml`."""
    values: dict[str, Any] = {}
    traits: list[str] = []
    problems: list[str] = []
    for name, table in said.items():
        source = discover().get(name)
        if source is None or not isinstance(table, dict):
            problems.append(f"sources.{name} is no table of a source: {_names()}")
            continue
        found = source.table(table)
        values |= found.values
        traits += found.traits
        problems += [f"sources.{name}.{problem}" for problem in found.problems]
    kinds = {source.name: source.crm for source in discover().values()}
    return Tables(
        values,
        traits,
        [name for name, crm in kinds.items() if not crm],
        [name for name, crm in kinds.items() if crm],
        problems,
    )


def _names() -> str:
    return ", ".join(discover())
