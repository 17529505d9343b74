"""What the optional `bridge.toml` may say: traits, their owners, money, sources.

[traits]
mrr = "billing.mrr"              # another key in Vitally
planName = false                 # not written at all

[owners]
name = ["hubspot", "stripe"]     # who sets it, the strongest first

[money]
discounts = "active"             # see bridge/money_table.py

[sources.stripe]                 # see the README of each source
account = ["customer.metadata.vitally_id", "customer.id"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from bridge.domain.document import TRAITS
from bridge.domain.policy import STRIPE, Policy
from bridge.errors import ConfigError
from bridge.money_table import read_policy
from bridge.options import Option
from bridge.settings import Settings

DEFAULT_PATH = Path("bridge.toml")
"""Read where `BRIDGE_CONFIG` is not set, and there alone allowed to be missing."""

NATIVE = ("stripe.", "hspot.", "sfdc.")
"""Beginnings of the keys that Vitally's own syncs write and would write again.

https://docs.vitally.io/account-health-scores-and-metrics/traits
"""


KNOWN = ("[traits]", "[owners]", "[money]", "[sources.NAME]")
"""Tables that the file may have."""


class Tables(NamedTuple):
    """What the sources make of `[sources.NAME]`.

    *values* are options of sources, *traits* those that they add to ours, *crm* and
    *billing* the names of all sources there are; *problems* are sentences.
    """

    values: Mapping[str, Any] = {}
    traits: Collection[str] = ()
    billing: Collection[str] = ()
    crm: Collection[str] = ()
    problems: Sequence[str] = ()


ReadTables = Callable[[Mapping[str, Any]], Tables]
"""The tables below `[sources]` by name -> what they say."""


def no_tables(said: Mapping[str, Any]) -> Tables:
    """Without any source there is none to be spoken of."""
    return Tables(problems=[f"sources.{name} is no source" for name in said])


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says, or would say by default."""

    traits: Mapping[str, str | None] = field(
        default_factory=lambda: {trait: trait for trait in TRAITS}
    )
    """Each trait -> its key in Vitally; None: not written."""
    policy: Policy = STRIPE
    """How money is read, and which source sets what."""
    sources: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Options of the sources that the file gives."""


def load(
    environ: Mapping[str, str],
    options: Iterable[Option] = (),
    without: Collection[str] = (),
    tables: ReadTables = no_tables,
) -> tuple[Settings, Config]:
    """Read the environment and the file that it names.

    Takes what `Settings.from_env` takes, and how the file's tables of sources are read.
    Raises ConfigError with the problems of both.
    """
    problems: list[str] = []
    settings = config = None
    try:
        settings = Settings.from_env(environ, options, without)
    except ConfigError as error:
        problems += error.problems
    try:
        config = read(environ.get("BRIDGE_CONFIG", "").strip() or None, tables=tables)
    except ConfigError as error:
        problems += error.problems
    if settings is None or config is None:
        raise ConfigError(problems)
    merged = {**settings.sources, **config.sources}
    return replace(settings, sources=merged), config


def read(
    path: str | None, default: Path = DEFAULT_PATH, tables: ReadTables = no_tables
) -> Config:
    """Read the file at *path*; None: the one at *default*, if there is one.

    Raises ConfigError, each problem beginning with the file's name.
    """
    file = default if path is None else Path(path)
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path is None:
            return parse({}, tables)[0]
        raise ConfigError(
            [f"BRIDGE_CONFIG names {file}, which does not exist"]
        ) from None
    except OSError as error:
        raise ConfigError([f"{file} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{file} is not UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file} is not TOML: {error}"]) from None
    config, problems = parse(said, tables)
    if problems:
        raise ConfigError([f"{file}: {problem}" for problem in problems])
    return config


def parse(
    said: Mapping[str, Any], tables: ReadTables = no_tables
) -> tuple[Config, list[str]]:
    """Read the file's content; the problems are sentences without the file's name."""
    problems = [
        f"{name!r} is nothing the bridge knows; it knows {', '.join(KNOWN)}"
        for name in said
        if name not in {"traits", "owners", "money", "sources"}
    ]
    for name in ("traits", "owners", "money", "sources"):
        if not isinstance(said.get(name, {}), dict):
            return Config(), [*problems, f"{name} must be a table: [{name}]"]
    found = tables(said.get("sources", {}))
    every = (*TRAITS, *(t for t in found.traits if t not in TRAITS))
    table = said.get("traits", {})
    told = {**{trait: trait for trait in found.traits}, **table}
    problems += [p for name, value in told.items() for p in _trait(name, value, every)]
    traits = {trait: _key(table.get(trait, trait)) for trait in every}
    policy, wrong = read_policy(said.get("money", {}))
    owners, strangers = _owners(said.get("owners", {}), every, found)
    policy = policy._replace(owners=owners, crm=frozenset(found.crm))
    problems += [*_shared(traits), *wrong, *strangers, *found.problems]
    return Config(traits, policy, found.values), problems


def _owners(
    table: Mapping[str, Any], traits: Collection[str], found: Tables
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Who sets what, and what is wrong with the table."""
    known = sorted({*found.billing, *found.crm})
    problems = [
        f"owners.{name} must be a list of some of {', '.join(known)}"
        for name, value in table.items()
        if not (isinstance(value, list) and value and set(map(str, value)) <= {*known})
    ]
    problems += [
        f"owners.{name} is no trait; there are name, {', '.join(traits)}"
        for name in table
        if name not in {"name", *traits}
    ]
    if problems:
        return {}, problems
    return {name: tuple(value) for name, value in table.items()}, []


def _key(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _trait(trait: str, value: Any, every: Collection[str]) -> list[str]:
    """Say what is wrong with one line of the table, if anything."""
    if trait not in every:
        return [f"traits.{trait} is no trait; there are {', '.join(every)}"]
    if value is False:
        return []
    if not isinstance(value, str):
        return [f"traits.{trait} must be a key in quotes, or false for not at all"]
    if not value.strip() or value != value.strip() or not value.isprintable():
        return [f"traits.{trait} must be a key without blanks around it"]
    if value.lower().startswith(NATIVE):
        return [f"traits.{trait} must not be {value!r}: Vitally's own syncs write it"]
    return []


def _shared(traits: Mapping[str, str | None]) -> list[str]:
    """Two traits on one key would overwrite one another at every write."""
    by_key: dict[str, list[str]] = {}
    for trait, key in traits.items():
        if key is not None:
            by_key.setdefault(key, []).append(trait)
    return [
        f"traits {' and '.join(same)} have one key, {key!r}"
        for key, same in by_key.items()
        if len(same) > 1
    ]
