"""Finds the sources: every folder here that defines a `SOURCE` is one.

The folder `generic` makes sources from tables in `bridge.toml`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from bridge import config
from bridge.config import Config, Table
from bridge.errors import ConfigError
from bridge.settings import OPTIONS, Option, Settings, doubts, values_of
from bridge.sources.generic import make
from bridge.webhook.auth import LEAST
from bridge.webhook.source import Options, Source

MADE = "generic.made"
"""Name of the option with the sources made from tables, by name."""

OBSERVED = "observed"
"""Name of the option with the names of the sources that have `observe = true`: their
deliveries are kept unread in the quarantine."""


@cache
def discover() -> dict[str, Source]:
    """Return the sources that have a folder, by name."""
    modules = (import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__))
    sources: list[Source] = [m.SOURCE for m in modules if hasattr(m, "SOURCE")]
    return {source.name: source for source in sources}


def options() -> list[Option]:
    """Return the sources' own settings."""
    return [option for source in discover().values() for option in source.options]


def load(
    environ: Mapping[str, str], without: Collection[str] = ()
) -> tuple[Settings, Config]:
    """Read the environment and `bridge.toml`, including the sources' part of both.

    *without* names required variables that the caller does not need. Raises
    ConfigError with all problems.
    """
    values, problems = values_of(environ, options(), without)
    problems[:0] = _refused(discover().values(), values)
    try:
        path = environ.get("BRIDGE_CONFIG", "").strip()
        file = config.read(path or None, tables=partial(tables, environ=environ))
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if file.subscription_object and "VITALLY_API_KEY" not in without:
        needed = ("VITALLY_ANALYTICS_TOKEN", "VITALLY_ANALYTICS_URL")
        missing = [name for name in needed if not values[name]]
        problems += [f"{name} is required by [vitally.objects]" for name in missing]
    if problems:
        raise ConfigError(problems)
    settings = Settings.of({**values, **file.sources})
    links = {s.name: s.link(settings.sources) for s in switched_on(settings.sources)}
    file = replace(file, links={name: link for name, link in links.items() if link})
    known = [option for source in every(settings.sources) for option in source.options]
    doubtful = [*doubts(environ, [*OPTIONS, *known]), *_lacking(settings)]
    return replace(settings, doubts=tuple(doubtful)), file


def _lacking(settings: Settings) -> Iterator[str]:
    """What sources need and do not have, if they are on or halfway so."""
    values = settings.sources
    for source in discover().values():
        given = any(values.get(o.name, o.default) != o.default for o in source.options)
        if given and not source.enabled(values):
            yield f"{source.title} is off: {source.missing(values)} is not set."
    for source in switched_on(values):
        scheme, _ = source.proof(values)
        if "{url}" in getattr(scheme, "signed", "") and not settings.bridge_public_url:
            yield f"{source.title} signs the URL it calls: set BRIDGE_PUBLIC_URL."
        yield from source.lacks(values)


def _refused(sources: Iterable[Source], values: Options) -> list[str]:
    """Weaknesses of these sources' secrets that must stop the start."""
    used = [source for source in sources if source.enabled(values)]
    return [w.text for source in used for w in source.weak(values) if w.refused]


def weak_secrets(settings: Settings) -> list[str]:
    """Weaknesses of the secrets in use that need not stop the start."""
    values, password = settings.sources, settings.console_password
    weak = [w.text for source in switched_on(values) for w in source.weak(values)]
    if password and len(password) < LEAST:
        weak.append(f"CONSOLE_PASSWORD has fewer than {LEAST} characters")
    if any(len(user.password) < LEAST for user in settings.console_users or ()):
        weak.append(f"CONSOLE_USERS has a password of fewer than {LEAST} characters")
    return weak


def every(values: Options) -> list[Source]:
    """Return all sources, including those made from tables in *values*."""
    return [*discover().values(), *values.get(MADE, {}).values()]


def by_name(values: Options) -> dict[str, Source]:
    """Return all sources by name."""
    return {source.name: source for source in every(values)}


def switched_on(values: Options) -> list[Source]:
    """Return the sources that the settings' *values* switch on."""
    return [source for source in every(values) if source.enabled(values)]


def listed(values: Options) -> list[Source]:
    """The sources that are on, and whose own lists can be read to see what is missing."""
    observed = values.get(OBSERVED, ())
    return [
        source
        for source in switched_on(values)
        if source.archive and values.get(source.key) and source.name not in observed
    ]


def tables(given: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Table:
    """Read the tables below `[sources]` of `bridge.toml`.

    A table that belongs to no source with a folder makes a source; its secrets come from
    *environ*. Any table may have the line `observe`.
    """
    made: dict[str, Source] = {}
    observed: set[str] = set()
    values: dict[str, Any] = {MADE: made, OBSERVED: observed}
    traits: list[str] = []
    computed: list[str] = []
    problems: list[str] = []
    for name, table in given.items():
        lines = {**table} if isinstance(table, dict) else {}
        observe = lines.pop("observe", False)
        if observe is True:
            observed.add(name)
        if not isinstance(table, dict):
            read = Table(problems=["must be a table"])
        elif name in discover():
            read = discover()[name].table(lines)
        else:
            new = make(name, lines, environ or {})
            made |= {name: new.source} if new.source else {}
            weak = _refused([new.source] if new.source else [], {})
            weak = [f"secret_env: {text}" for text in weak]
            read = Table({}, new.traits, [*new.problems, *weak])
        values |= read.values
        traits += read.traits
        computed += read.computed
        wrong = [*read.problems]
        if type(observe) is not bool:
            wrong.append("observe must be true or false")
        problems += [
            # A mistake of the table itself, or of one of its lines.
            f"sources.{name}{' ' if text.startswith('must ') else '.'}{text}"
            for text in wrong
        ]
    crm = {source.name: source.crm for source in every(values)}
    return Table(values, traits, problems, crm, computed)
