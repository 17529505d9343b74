"""What the optional `bridge.toml` may say: the traits' keys, and how money is read.

[traits]
mrr = "billing.mrr"      # another key in Vitally
planName = false         # not written at all

[money]
discounts = "active"     # see bridge/domain/policy.py
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says, or would say by default."""

    traits: Mapping[str, str | None] = field(
        default_factory=lambda: {trait: trait for trait in TRAITS}
    )
    """Each of our traits -> its key in Vitally; None: not written."""
    policy: Policy = STRIPE
    """How money is read."""


def load(
    environ: Mapping[str, str],
    options: Iterable[Option] = (),
    without: Collection[str] = (),
) -> tuple[Settings, Config]:
    """Read the environment and the file that it names.

    Takes what `Settings.from_env` takes. Raises ConfigError with the problems of both.
    """
    problems: list[str] = []
    settings = config = None
    try:
        settings = Settings.from_env(environ, options, without)
    except ConfigError as error:
        problems += error.problems
    try:
        config = read(environ.get("BRIDGE_CONFIG", "").strip() or None)
    except ConfigError as error:
        problems += error.problems
    if settings is None or config is None:
        raise ConfigError(problems)
    return settings, config


def read(path: str | None, default: Path = DEFAULT_PATH) -> Config:
    """Read the file at *path*; None: the one at *default*, if there is one.

    Raises ConfigError, each problem beginning with the file's name.
    """
    file = default if path is None else Path(path)
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path is None:
            return Config()
        raise ConfigError(
            [f"BRIDGE_CONFIG names {file}, which does not exist"]
        ) from None
    except OSError as error:
        raise ConfigError([f"{file} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{file} is not UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file} is not TOML: {error}"]) from None
    config, problems = parse(said)
    if problems:
        raise ConfigError([f"{file}: {problem}" for problem in problems])
    return config


def parse(said: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """Read the file's content; the problems are sentences without the file's name."""
    problems = [
        f"{name!r} is nothing the bridge knows; it knows [traits] and [money]"
        for name in said
        if name not in {"traits", "money"}
    ]
    for name in ("traits", "money"):
        if not isinstance(said.get(name, {}), dict):
            return Config(), [*problems, f"{name} must be a table: [{name}]"]
    table = said.get("traits", {})
    problems += [problem for item in table.items() for problem in _trait(*item)]
    traits = {trait: _key(table.get(trait, trait)) for trait in TRAITS}
    policy, wrong = read_policy(said.get("money", {}))
    return Config(traits, policy), problems + _shared(traits) + wrong


def _key(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _trait(trait: str, value: Any) -> list[str]:
    """Say what is wrong with one line of the table, if anything."""
    if trait not in TRAITS:
        return [f"traits.{trait} is no trait; there are {', '.join(TRAITS)}"]
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
