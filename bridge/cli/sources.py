"""`python -m bridge sources`: which there are, trying one, and capturing for fixtures."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from redis import Redis

from bridge.cli import session
from bridge.cli.operate import NO_VITALLY
from bridge.cli.program import program
from bridge.config import Config
from bridge.domain.account import Party, identify, unite
from bridge.domain.document import document
from bridge.domain.explanation import explain
from bridge.domain.facts import CATALOGUE, THIN, Fact
from bridge.domain.fold import Past, fold
from bridge.errors import BridgeError, PayloadError
from bridge.ingest import Ingress
from bridge.settings import Settings
from bridge.sources import every
from bridge.sources.generic import make
from bridge.sources.generic.recipes import recipes
from bridge.store import capture as store
from bridge.webhook.source import Delivery, Event, Options, Source, Verified

NOTHING = NO_VITALLY | {"REDIS_URL"}
"""Trying needs neither side."""


@click.group(invoke_without_command=True)
@click.pass_context
def sources(context: click.Context) -> None:
    """See the sources, try one with a payload, capture fixtures.

    \b
    Example:
      python -m bridge sources
      python -m bridge sources try paddle payload.json
      python -m bridge sources capture paddle --count 5
    """
    if context.invoked_subcommand is None:
        found, _config = session.settings(without=NOTHING)
        session.say(*_listed(found.sources))


def _listed(values: Options) -> Iterator[str]:
    rows = [("SOURCE", "TITLE", "STATE")]
    rows += [(s.name, s.title, _state(s, values)) for s in every(values)]
    yield from session.table(rows)
    kinds = {
        True: "tried with real deliveries",
        False: "untried: made from the vendor's pages",
    }
    shipped = [("RECIPE", "TITLE", "")]
    shipped += [
        (n, r["title"], kinds[bool(r.get("tried"))]) for n, r in recipes().items()
    ]
    yield from ("", *session.table(shipped))


def _state(source: Source, values: Options) -> str:
    if source.enabled(values):
        return "on"
    return f"off: {source.options[0].name} is not set"


def _source(name: str, values: Options) -> Source:
    """The source *name*, or the recipe where no table uses it."""
    known = {source.name: source for source in every(values)}
    if name in recipes():
        made = make(name, {"party": "'a party'", **recipes()[name]}, {})
        known = {name: made.source, **known} if made.source else known
    if name not in known:
        raise BridgeError(f"{name}: no such source; see `{program()} sources`")
    return known[name]


@sources.command(name="try")
@click.argument("name")
@click.argument("payload", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--headers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of lines `Name: value`.",
)
def try_(name: str, payload: Path, headers: Path | None) -> None:
    """Print the facts, the document and why, of PAYLOAD as source NAME would read it.

    Nothing is stored or sent, and no signature is asked for.
    """
    found, config = session.settings(without=NOTHING)
    source = _source(name, found.sources)
    told = dict(_header(line) for line in _lines(headers))
    delivery = Delivery("POST", f"/webhooks/{name}", told, payload.read_bytes())
    try:
        events = list(source.split(Verified(delivery)))
    except PayloadError as error:
        raise BridgeError(f"quarantined: {error.reason}") from None
    facts: list[Fact] = []
    for event in events:
        facts += _understood(found, source, event)
    if any(fact.thing == THIN for fact in facts):
        session.say("", f"The rest has to be read from its source, with {source.key}.")
    if any(fact.party.startswith(CATALOGUE) for fact in facts):
        session.say("", "It is told of no customer; it counts for all that use it.")
    whose = {fact.party for fact in facts if fact.thing != THIN}
    for party in sorted(p for p in whose if not p.startswith(CATALOGUE)):
        mine = [fact for fact in facts if fact.party == party]
        session.say(*_document(party, mine, config))


def _lines(file: Path | None) -> list[str]:
    return (
        [line for line in file.read_text().splitlines() if ":" in line] if file else []
    )


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def _understood(found: Settings, source: Source, event: Event) -> list[Fact]:
    """Say what an event is and what its facts are."""
    # Nothing is asked of this Redis: reading an event needs none.
    facts, refusal = Ingress(found, Redis(), [source]).understood(source, event)
    session.say(f"event {event.id}  {event.type}")
    if refusal is not None:
        session.say(f"  {refusal.receipt}: {refusal.reason}")
    for fact in facts:
        at = session.moment(fact.stamp.at)
        session.say(f"  {fact.party}  {fact.thing}  at {at}")
        session.say(*(f"    {line}" for line in session.as_json(fact.value)))
    return facts


def _document(party: str, facts: list[Fact], config: Config) -> Iterator[str]:
    """Say what Vitally would hold if these facts were all."""
    things, now = fold(Past(facts)), time.time_ns() // 1_000_000
    found = identify(things)
    yield ""
    yield f"account {found.account or 'not known: ' + found.reason}"
    account = unite(found.account or party, [Party(party, things)])
    doc, why = (
        document(account, config.policy, now),
        explain(account, config.policy, now),
    )
    rows: list[tuple[object, ...]] = [
        ("TRAIT", "VALUE", "WHY"),
        ("name", doc.name.text, ""),
    ]
    rows += [(t, v, _because(why[t])) for t, v in doc.traits.items()]
    rows += [(t, "unknown", reason) for t, reason in doc.unknown.items()]
    yield from session.table(rows)


def _because(causes: list[dict[str, Any]]) -> str:
    return "; ".join(
        ", ".join(f"{k}={v}" for k, v in cause.items() if k != "event")
        for cause in causes
    )


@sources.command()
@click.argument("name")
@click.option(
    "--count", default=5, type=click.IntRange(1, store.MOST), show_default=True
)
@click.option("--minutes", default=60, type=click.IntRange(1, 1440), show_default=True)
@click.option(
    "--take",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write what was kept into this folder, and stop.",
)
def capture(name: str, count: int, minutes: int, take: Path | None) -> None:
    """Keep the next deliveries of source NAME, scrubbed, as fixtures.

    E-mail addresses, names, tokens and long numbers are replaced before anything is
    kept; look at what is written all the same before you share it.
    """
    found, _config = session.settings(without=NO_VITALLY)
    client, source = session.redis(found), _source(name, found.sources)
    if take is None:
        store.ask(client, name, count, minutes)
        session.say(
            f"the next {count} deliveries of {name} are kept, for {minutes} min"
        )
        session.say(f"then: {program()} sources capture {name} --take FOLDER")
        return
    bodies = store.taken(client, name)
    take.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(bodies, 1):
        file = take / f"{_kind(source, body)}__captured_{number}{_ending(body)}"
        file.write_bytes(body)
        session.say(str(file))
    session.say(f"{len(bodies)} deliveries of {name} were kept")


def _kind(source: Source, body: bytes) -> str:
    """Type of the first event of a body, as the name of a file."""
    try:
        events = list(source.split(Verified(Delivery("POST", "", {}, body))))
    except PayloadError:
        events = []
    kind = next((event.type for event in events if event.type), "unread")
    return re.sub(r"[^A-Za-z0-9._-]", "_", kind)


def _ending(body: bytes) -> str:
    return ".json" if body[:1] in {b"{", b"["} else ".form"
