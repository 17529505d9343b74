"""The sources, found by looking: each folder here is one, with its `SOURCE`.

A folder without one (`generic`) makes sources out of tables in `bridge.toml`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache, partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from bridge import config
from bridge.config import Config, Tables
from bridge.options import Option
from bridge.settings import Settings
from bridge.sources.generic import make
from bridge.webhook.source import Options, Source

MADE = "generic.made"
"""Name of the option that holds the sources made of tables, by their names."""


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
    read = partial(tables, environ=environ)
    return config.load(environ, options(), without, read)


def every(values: Options) -> list[Source]:
    """Return all sources there are under the settings' *values*."""
    return [*discover().values(), *values.get(MADE, {}).values()]


def switched_on(values: Options) -> list[Source]:
    """Return the sources that the settings' *values* switch on."""
    return [source for source in every(values) if source.enabled(values)]


def tables(said: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Tables:
    """Read the tables below `[sources]` of `bridge.toml`.

    One that is no source's own makes a source, with its secrets from *environ*.
    """
    values: dict[str, Any] = {}
    made: dict[str, Source] = {}
    traits: list[str] = []
    problems: list[str] = []
    for name, table in said.items():
        source = discover().get(name)
        if not isinstance(table, dict):
            wrong: Collection[str] = ["must be a table"]
        elif source is not None:
            found = source.table(table)
            values |= found.values
            traits += found.traits
            wrong = found.problems
        else:
            new = make(name, table, environ or {})
            made |= {name: new.source} if new.source else {}
            traits += new.traits
            wrong = new.problems
        problems += [f"sources.{name}{_joint(said)}{said}" for said in wrong]
    values[MADE] = made
    kinds = {source.name: source.crm for source in every(values)}
    return Tables(
        values,
        traits,
        [name for name, crm in kinds.items() if not crm],
        [name for name, crm in kinds.items() if crm],
        problems,
    )


def _joint(problem: str) -> str:
    """What stands between a table's name and a problem of it, or of a line of it."""
    return " " if problem.startswith("must ") else "."
