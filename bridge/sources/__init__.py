"""The sources, found by looking: each folder here is one, with its `SOURCE`.

A folder without one (`generic`) makes sources out of tables in `bridge.toml`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from bridge import config
from bridge.config import Config, Tables
from bridge.errors import ConfigError
from bridge.options import Option, read_all
from bridge.settings import Settings
from bridge.sources.generic import make
from bridge.webhook.auth import LEAST
from bridge.webhook.source import Options, Source

MADE = "generic.made"
"""Name of the option that holds the sources made of tables, by their names."""

OBSERVED = "observed"
"""Name of the option that holds the names of the sources with `observe = true`: each of
their deliveries is kept in the quarantine, unread."""


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
    problems = list(_weak(environ))
    settings = found = None
    try:
        settings = Settings.from_env(environ, options(), without)
    except ConfigError as error:
        problems += error.problems
    try:
        path = environ.get("BRIDGE_CONFIG", "").strip()
        found = config.read(path or None, tables=partial(tables, environ=environ))
    except ConfigError as error:
        problems += error.problems
    if settings is None or found is None or problems:
        raise ConfigError(problems)
    return replace(settings, sources={**settings.sources, **found.sources}), found


def _weak(environ: Mapping[str, str]) -> Iterator[str]:
    """The secrets of sources of their own that are refused."""
    # A variable that cannot be read is named by whoever reads all of them.
    values, _ = read_all(options(), environ)
    for source in discover().values():
        if source.enabled(values):
            yield from (weak.text for weak in source.weak(values) if weak.refused)


def weak_secrets(settings: Settings) -> list[str]:
    """What is weak about the secrets in use, and no reason not to start."""
    found = [
        weak.text
        for source in switched_on(settings.sources)
        for weak in source.weak(settings.sources)
    ]
    password = settings.console_password
    if password and len(password) < LEAST:
        found.append(f"CONSOLE_PASSWORD has fewer than {LEAST} characters")
    return found


def every(values: Options) -> list[Source]:
    """Return all sources there are under the settings' *values*."""
    return [*discover().values(), *values.get(MADE, {}).values()]


def switched_on(values: Options) -> list[Source]:
    """Return the sources that the settings' *values* switch on."""
    return [source for source in every(values) if source.enabled(values)]


def tables(said: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Tables:
    """Read the tables below `[sources]` of `bridge.toml`.

    One that is no source's own makes a source, with its secrets from *environ*. Any may
    have the line `observe`.
    """
    values: dict[str, Any] = {}
    observed: set[str] = set()
    made: dict[str, Source] = {}
    traits: list[str] = []
    problems: list[str] = []
    for name, table in said.items():
        source = discover().get(name)
        wrong: list[str] = []
        lines = {**table} if isinstance(table, dict) else {}
        observe = lines.pop("observe", False)
        if observe is True:
            observed.add(name)
        elif observe is not False:
            wrong.append("observe must be true or false")
        if not isinstance(table, dict):
            wrong.append("must be a table")
        elif source is not None:
            found = source.table(lines)
            values |= found.values
            traits += found.traits
            wrong += found.problems
        else:
            new = make(name, lines, environ or {})
            made |= {name: new.source} if new.source else {}
            traits += new.traits
            wrong += [*new.problems, *(_refused(new.source) if new.source else ())]
        problems += [f"sources.{name}{_joint(said)}{said}" for said in wrong]
    values |= {MADE: made, OBSERVED: frozenset(observed)}
    kinds = {source.name: source.crm for source in every(values)}
    return Tables(
        values,
        traits,
        [name for name, crm in kinds.items() if not crm],
        [name for name, crm in kinds.items() if crm],
        problems,
    )


def _refused(source: Source) -> Iterator[str]:
    if source.enabled({}):
        for weak in source.weak({}):
            if weak.refused:
                yield f"secret_env: {weak.text}"


def _joint(problem: str) -> str:
    """What stands between a table's name and a problem of it, or of a line of it."""
    return " " if problem.startswith("must ") else "."
