"""`python -m bridge sources`: lists the sources, tries one on a payload, adds one."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from keyword import iskeyword
from pathlib import Path
from string import Template
from typing import Any

import click

from bridge.cli import NO_VITALLY, Group, configured, program, reached
from bridge.cli.explain import because, parts, value
from bridge.cli.operate import quarantined
from bridge.cli.output import json_lines, one_of, show, table, tell
from bridge.config import DEFAULT_PATH, Config
from bridge.domain.account import Party, identify
from bridge.domain.facts import Fact, PartyKind, kind_of
from bridge.domain.fold import History, fold
from bridge.domain.values import TO_REFRESH
from bridge.errors import BridgeError, PayloadError
from bridge.explain import worked_out
from bridge.ingest import delivered, read_event
from bridge.settings import Settings
from bridge.sources import OBSERVED, by_name, discover, every
from bridge.sources.generic import NAME as TABLE_NAME
from bridge.sources.generic import make, recipes
from bridge.webhook.examples import examples
from bridge.webhook.source import Delivery, Options, Source, Verified
from bridge.wording import moment

NOTHING = NO_VITALLY | {"REDIS_URL"}
"""Settings that are not needed where neither Vitally nor Redis is."""

PLACES = {
    "source.py": "bridge/sources/{name}/__init__.py",
    "README.md": "bridge/sources/{name}/README.md",
    "known.py": "tests/sources/{name}.py",
}
"""Template of a new source -> the file that it becomes; all others are fixtures."""

FIXTURES = "bridge/sources/{name}/fixtures"

PARTY_LINES = """\
# Whose it is: the sender's id of the customer.
party = "data.customer_id"
"""
"""What the table of a recipe has to add that does not say it."""

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

Data = Mapping[str, Any]


@click.group(cls=Group, json=True, invoke_without_command=True)
@click.pass_context
def sources(context: click.Context) -> None:
    """See the sources, and try one with a payload.

    \b
    Example:
      python -m bridge sources
      python -m bridge sources try paddle payload.json
    """
    if context.invoked_subcommand is not None:
        return
    values = configured(NOTHING)[0].sources
    known = [
        {"name": source.name, "title": source.title, "state": _state(source, values)}
        for source in every(values)
    ]
    made = [
        {"name": name, "title": recipe["title"], "tried": bool(recipe.get("tried"))}
        for name, recipe in recipes().items()
    ]
    show({"sources": known, "recipes": made}, _listed)


def _state(source: Source, values: Options) -> str:
    if not source.enabled(values):
        return f"off: {source.missing(values)} is not set"
    if source.name in values[OBSERVED]:
        return "on, observed: deliveries are kept unread in the quarantine"
    return "on"


def _listed(data: Data) -> Iterator[str]:
    words = ("untried: made from the vendor's pages", "tried with real deliveries")
    known = [(s["name"], s["title"], s["state"]) for s in data["sources"]]
    made = [(r["name"], r["title"], words[r["tried"]]) for r in data["recipes"]]
    yield from table(("SOURCE", "TITLE", "STATE"), known)
    yield from ("", *table(("RECIPE", "TITLE", ""), made))


@sources.command()
@click.argument("name")
@click.option("--table/--code", "as_table", default=None, help="In a checkout: code.")
@click.option("--recipe", help="A table that begins with this recipe.")
def new(name: str, as_table: bool | None, recipe: str | None) -> None:
    """Write a new source NAME that works as it is; change what differs.

    A table goes to the end of bridge.toml, and a sample beside it, for `sources try`. Code
    goes into a checkout, with fixtures and tests.

    \b
    Example:
      python -m bridge sources new acme --table
      python -m bridge sources new shop --recipe paddle
    """
    if as_table or recipe or (as_table is None and not _in_checkout()):
        _new_table(name, recipe)
    else:
        _new_code(name)


def _in_checkout() -> bool:
    return Path("tests/sources").is_dir() and Path("bridge/sources").is_dir()


def _new_table(name: str, recipe: str | None) -> None:
    """Append a table to the settings' file, and write a sample beside it."""
    file = Path(os.environ.get("BRIDGE_CONFIG", "").strip() or DEFAULT_PATH)
    if not TABLE_NAME.fullmatch(name) or name in discover():
        raise BridgeError(f"{name}: not a name for a table, or that of another source")
    text = file.read_text("utf-8") if file.exists() else ""
    templates = files("bridge.cli") / "new_table"
    sample = (templates / "sample.json.txt").read_bytes()
    table = (templates / "table.toml.txt").read_text("utf-8")
    if recipe:
        made = one_of(recipes(), recipe, "recipe")
        sample = next(iter(examples(_source(recipe, {})).values()), b"")
        table = (templates / "recipe.toml.txt").read_text("utf-8")
        table += "" if made.get("events") else PARTY_LINES
    if name in tomllib.loads(text).get("sources", {}):
        raise BridgeError(f"{file} has a table for {name} already")
    words = _words_of(name) | {"recipe": recipe}
    file.write_text(text + Template(table).substitute(words), "utf-8")
    lines, written = [f"{file}: [sources.{name}]"], [str(file)]
    if sample:
        kept = f"{name}.sample.json"
        Path(kept).write_bytes(sample)
        written += [kept]
        lines += [kept, "", f"Next: {program()} sources try {name} {kept}"]
    tell({"files": written}, *lines)


def _words_of(name: str) -> dict[str, str | None]:
    """The words that templates need."""
    dashed = name.replace("_", "-")
    title, upper = dashed.replace("-", " ").title(), dashed.replace("-", "_").upper()
    return {"name": name, "title": title, "dashed": dashed, "upper": upper}


def _new_code(name: str) -> None:
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or iskeyword(name):
        hint = "a name consists of small letters, digits and underscores"
        raise BridgeError(f"{name}: {hint}")
    if not _in_checkout():
        raise BridgeError("there is no bridge/sources here; go to a checkout's folder")
    if name in {path.stem for path in Path("bridge/sources").iterdir()} | {*recipes()}:
        raise BridgeError(f"{name}: this source already exists")
    words, places = _words_of(name), list[str]()
    templates = (files("bridge.cli") / "new_source").iterdir()
    for template in sorted(templates, key=lambda one: one.name):
        file = template.name.removesuffix(".txt")
        place = Path(PLACES.get(file, f"{FIXTURES}/{file}").format(name=name))
        text = Template(template.read_text("utf-8")).substitute(words)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        places.append(str(place))
    next_ = f"Next: make format; .venv/bin/python -m pytest tests/sources -k {name}"
    tell({"files": places}, *places, "", next_)


@sources.command("try")
@click.argument("name")
@click.argument("payload", type=FILE, required=False)
@click.option("--quarantine", "kept", metavar="ID", help="One in the quarantine.")
@click.option("--headers", type=FILE, help="A file of header lines, `Name: value`.")
def try_(
    name: str, payload: Path | None, kept: str | None, headers: Path | None
) -> None:
    """Print what source NAME reads in PAYLOAD: facts, traits, and why.

    Nothing is stored or sent, and no signature is checked. Instead of a file, a delivery
    in the quarantine can be read; it stays there.

    \b
    Example:
      python -m bridge sources try paddle payload.json
      python -m bridge sources try paddle --quarantine 1f0c3a5b7d9e2468
    """
    if (payload is None) == (kept is None):
        raise click.UsageError("give either a file or --quarantine ID")
    settings, config = configured(NO_VITALLY if kept else NOTHING)
    source = _source(name, settings.sources)
    if kept:
        delivery = delivered(quarantined(kept, reached(settings)))
    else:
        body = payload.read_bytes() if payload else b""
        delivery = Verified(Delivery("POST", f"/webhooks/{name}", {}, body))
    lines = headers.read_text("latin-1").splitlines() if headers else []
    pairs = (line.partition(":") for line in lines if ":" in line)
    given = {header.strip().lower(): text.strip() for header, _, text in pairs}
    whole = delivery._replace(headers={**delivery.headers, **given})
    show(_read(source, Verified(whole), settings, config), _words)


def _source(name: str, values: Options) -> Source:
    """The source *name*, or the recipe of that name if no table uses it."""
    known = by_name(values)
    if name in recipes():
        given = {"party": "'a party'", **recipes()[name], "recipe": name}
        made = make(name, given, {})
        known = {name: made.source, **known} if made.source else known
    return one_of(known, name, "source")


def _read(
    source: Source, delivery: Verified, settings: Settings, config: Config
) -> dict[str, Any]:
    """The events of a delivery, what is read in them, and the accounts they make."""
    try:
        split = list(source.split(delivery))
    except PayloadError as error:
        raise BridgeError(f"quarantined: {error.reason}") from None
    events = [(one, *read_event(source, one, settings.sources)) for one in split]
    facts = [fact for _, own, _ in events for fact in own]
    whole = [fact for fact in facts if fact.thing != TO_REFRESH]
    parties = sorted({fact.party for fact in whole})
    return {
        "events": [
            {"event": one.id, "type": one.type, "facts": own, "refusal": refusal}
            for one, own, refusal in events
        ],
        "to_read_with": source.key if len(whole) < len(facts) else None,
        "accounts": [
            _account(party, [fact for fact in whole if fact.party == party], config)
            for party in parties
            if kind_of(party) != PartyKind.CATALOGUE
        ],
    }


def _account(party: str, facts: Sequence[Fact], config: Config) -> dict[str, Any]:
    """What Vitally would hold if there were only these facts."""
    things = fold(History(facts))
    account, reason, _ = identify(things)
    data = worked_out(account or party, [Party(party, things)], config)
    return {**data, "party": party, "account": account, "reason": reason}


def _words(data: Data) -> Iterator[str]:
    for event in data["events"]:
        yield f"event {event['event']}  {event['type']}"
        if refusal := event["refusal"]:
            yield f"  {refusal.receipt}: {refusal.reason}"
        for fact in event["facts"]:
            at = f"  at {moment(fact.stamp.at)}" if fact.stamp.at else ""
            yield f"  {fact.party}  {fact.thing}{at}"
            yield from (f"    {line}" for line in json_lines(fact.value))
    if data["to_read_with"]:
        rest = f"The rest has to be read from its source, with {data['to_read_with']}."
        yield from ("", rest)
    parties = [fact.party for event in data["events"] for fact in event["facts"]]
    if PartyKind.CATALOGUE in map(kind_of, parties):
        yield ""
        yield "This names no customer; it applies to all customers that use it."
    for account in data["accounts"]:
        rows = [("name", account["name"], "")]
        rows += [
            (trait, value(known), "; ".join(map(because, account["because"][trait])))
            for trait, known in account["facts_say"].items()
        ]
        rows += [(t, "unknown", reason) for t, reason in account["unknown"].items()]
        yield ""
        yield f"account {account['account'] or 'not known: ' + account['reason']}"
        yield from (*table(("TRAIT", "VALUE", "WHY"), rows), *parts(account))
