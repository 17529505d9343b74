"""Any other system: a source made of a table in `bridge.toml`, without code.

`table.py` defines the lines of a table, and `values.py` one value of a delivery. With
them `events.py` turns a delivery into events and an event into facts, and `api.py` reads
the sender's API if events contain too little. `recipes/` has ready-made tables.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from bridge.config import check
from bridge.domain.account import MEMBER_OF
from bridge.settings import OPTIONS, Option, read_all, text
from bridge.sources.generic.api import GenericApi
from bridge.sources.generic.events import events, facts, fits
from bridge.sources.generic.table import SHARED, TABLE
from bridge.webhook.auth import is_key, verify, weaknesses
from bridge.webhook.fields import Payload
from bridge.webhook.source import Handler, Source, Weakness

USUAL = (
    "COLUMNS DYNO EDITOR HOME HOST HOSTNAME LANG LANGUAGE LC_ALL LINES LOGNAME MAIL OLDPWD "
    "PAGER PATH PWD PYTHONPATH SHELL SHLVL TERM TMPDIR TZ USER USERNAME VIRTUAL_ENV"
)
NO_SECRETS = frozenset([*USUAL.split(), *(option.name for option in OPTIONS)])
"""Variables that `secret_env` may not name: those of nearly every process, which are not
secret, and the bridge's own settings."""

NAME = re.compile(r"(?!pointer$|catalogue$|vacated$|organization$)[a-z0-9_-]{1,40}")
ANYTHING = Payload()
EVERY_EVENT = {"event": {"kind": "trait", "when": ("*",), "traits": {}}}


class Made(NamedTuple):
    """A source, or the mistakes in its table; *traits* are those that it sets."""

    source: Source | None = None
    traits: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class RuleHandlers(Mapping[str, Handler]):
    """Type of an event -> a handler that uses all rules whose `when` matches it."""

    def __init__(self, rules: Mapping[str, Mapping[str, Any]]) -> None:
        self._rules = rules

    def __getitem__(self, kind: str) -> Handler:
        mine = {
            name: rule
            for name, rule in self._rules.items()
            if any(fits(kind, pattern) for pattern in rule["when"])
        }
        if not mine:
            raise KeyError(kind)
        names = ", ".join(mine)
        return Handler(ANYTHING, lambda event, *_: facts(mine, event), names, True)

    def __iter__(self) -> Iterator[str]:
        return (kind for rule in self._rules.values() for kind in rule["when"])

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def recipes() -> Mapping[str, Mapping[str, Any]]:
    """Return the table of each recipe, by name."""
    folder = files(__package__).joinpath("recipes").iterdir()
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8"))
        for file in sorted(folder, key=lambda file: file.name)
    }


def overridden(recipe: Mapping[str, Any], lines: Mapping[str, Any]) -> dict[str, Any]:
    """Override a recipe with *lines*; `false` removes one of its lines."""
    laid = dict(recipe)
    for name, value in lines.items():
        below = laid.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            laid[name] = overridden(below, value)
        elif value is False and not isinstance(below, bool):
            laid.pop(name, None)
        else:
            laid[name] = value
    return laid


def make(name: str, given: Mapping[str, Any], environ: Mapping[str, str]) -> Made:
    """Make the source of table `[sources.NAME]`, its secrets taken from *environ*."""
    recipe = given.get("recipe")
    # What else is wrong nobody can tell without the recipe.
    if recipe is not None and recipe not in [*recipes()]:
        return Made(problems=(f"recipe: must be one of {', '.join(recipes())}",))
    lines = overridden(recipes().get(recipe or "", {}), given)
    table, wrong = check(TABLE, lines, ": ")
    if not NAME.fullmatch(name):
        wrong.append("must be a name of a-z, 0-9, _ and -, up to 40")
    read, secret_env = table.get("read", {}), table.get("secret_env", ())
    keys = read.get("key_env", ())
    variables = dict.fromkeys(secret_env, "Secret of its webhooks.")
    variables |= dict.fromkeys(keys, "Key of its API.")
    options = [Option(n, text, what, secret=True) for n, what in variables.items()]
    values, unread = read_all(options, environ)
    wrong += [*_missing(lines), *unread]
    for line, names in (("secret_env", secret_env), ("read.key_env", keys)):
        for variable in NO_SECRETS.intersection(names):
            wrong.append(f"{line}: {variable} is already used for something else")
    if wrong:
        return Made(problems=tuple(wrong))
    rules = _rules(name, table)
    handlers, key = RuleHandlers(rules), next(iter(keys), "")
    valid = [secret for env in secret_env if (secret := values[env])]
    secret = values.get(key)
    api = GenericApi(name, read, secret, handlers) if secret else None
    source = Source(
        name=name,
        title=table.get("title", name),
        options=tuple(options),
        enabled=lambda _: bool(valid),
        verify=lambda delivery, _, now: verify(table["verify"], delivery, valid, now),
        split=lambda delivery: list(events(table, delivery)),
        headers=(*table["id"].headers, *table["type"].headers),
        handlers=handlers,
        api=lambda _: api,
        key=key,
        crm=table["crm"],
        weak=lambda _: _weak(table, values),
        proof=lambda _: (table["verify"], valid),
        recipe=table.get("recipe", ""),
    )
    traits = dict.fromkeys(trait for rule in rules.values() for trait in rule["traits"])
    if any(rule.get("organization") for rule in rules.values()):
        traits |= {MEMBER_OF: None}
    return Made(source, tuple(traits))


def _rules(name: str, table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rules, each with the lines that its source sets for all of them."""
    rules = table["events"] or EVERY_EVENT
    shared = {line: table[line] for line in SHARED if line in table}
    added = {
        "source": name,
        "by_id": not any("account" in rule for rule in (shared, *rules.values())),
        "extras": any(rule["kind"] == "extra" for rule in rules.values()),
    }
    return {
        word: {**shared, **rule, **added, "traits": table["traits"] | rule["traits"]}
        for word, rule in rules.items()
    }


def _missing(table: Mapping[str, Any]) -> Iterator[str]:
    """Name the lines that a rule needs and that neither it nor its source has.

    The *table* may have mistakes; what should be one in it, and is none, counts as empty.
    """
    rules = _inner(table, "events") or EVERY_EVENT
    for word in rules:
        rule = _inner(rules, word)
        kind, said = rule.get("kind", word), {**table, **rule}
        for line in ("at",) if kind in ("thin", "extra") else ("at", "party"):
            if line not in said:
                yield f"{line}: is missing, here or in events.{word}"
        if kind == "thin" and not ("party" in said or {"thing", "id"} <= rule.keys()):
            yield f"events.{word}: must say party, or thing and id"
        traits = {**_inner(table, "traits"), **_inner(rule, "traits")}
        kinds = {str(_inner(traits, trait).get("as")) for trait in traits}
        if "minor" in kinds and "currency" not in rule:
            yield f"events.{word}.currency: is missing, for traits in minor units"


def _inner(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = table.get(name)
    return inner if isinstance(inner, dict) else {}


def _weak(
    table: Mapping[str, Any], secrets: Mapping[str, str | None]
) -> Iterator[Weakness]:
    """Weaknesses of a source's secrets; the path of a file is not a secret."""
    for name in table["secret_env"]:
        secret = secrets[name]
        with suppress(OSError, ValueError):
            if secret and secret.startswith("/") and Path(secret).exists():
                yield Weakness(f"{name} holds the path of a file, and no secret")
                continue
        yield from weaknesses(name, secret)
        if secret and not is_key(table["verify"], secret):
            must = f"{name} must be {table['verify'].key}: it matches nothing"
            yield Weakness(must, refused=False)
