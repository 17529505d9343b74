"""`python -m bridge sources`: which there are, and how one of them reads a payload."""

from __future__ import annotations

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
from bridge.domain.facts import CATALOGUE, TO_REFRESH, Fact
from bridge.domain.fold import History, fold
from bridge.errors import BridgeError, PayloadError
from bridge.ingest import Ingress
from bridge.settings import Settings
from bridge.sources import OBSERVED, every
from bridge.sources.generic import make
from bridge.sources.generic.recipes import recipes
from bridge.store.quarantine import Quarantine
from bridge.webhook.source import Delivery, Event, Options, Source, Verified

NOTHING = NO_VITALLY | {"REDIS_URL"}
"""Trying needs neither side."""

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(invoke_without_command=True)
@click.pass_context
def sources(context: click.Context) -> None:
    """See the sources, and try one with a payload.

    \b
    Example:
      python -m bridge sources
      python -m bridge sources try paddle payload.json
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
    if not source.enabled(values):
        return f"off: {source.options[0].name} is not set"
    if source.name in values[OBSERVED]:
        return "on, observed: what comes is kept in the quarantine, unread"
    return "on"


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
@click.argument("payload", type=FILE, required=False)
@click.option("--quarantine", "kept", metavar="ID", help="A delivery that is kept.")
@click.option("--headers", type=FILE, help="A file of lines `Name: value`.")
def try_(
    name: str, payload: Path | None, kept: str | None, headers: Path | None
) -> None:
    """Print what source NAME reads in PAYLOAD: its facts, the traits, and why.

    Nothing is stored or sent, and no signature is asked for. In place of a file, a
    delivery in the quarantine may be read; it stays there.

    \b
    Example:
      python -m bridge sources try paddle payload.json
      python -m bridge sources try paddle --quarantine 1f0c3a5b7d9e2468
    """
    if (payload is None) == (kept is None):
        raise click.UsageError("give either a file or --quarantine ID")
    found, config = session.settings(without=NO_VITALLY if kept else NOTHING)
    source = _source(name, found.sources)
    told = dict(_header(line) for line in _lines(headers))
    body = payload.read_bytes() if payload else _kept(found, kept or "")
    delivery = Delivery("POST", f"/webhooks/{name}", told, body)
    try:
        events = list(source.split(Verified(delivery)))
    except PayloadError as error:
        raise BridgeError(f"quarantined: {error.reason}") from None
    facts: list[Fact] = []
    for event in events:
        facts += _understood(found, source, event)
    if any(fact.thing == TO_REFRESH for fact in facts):
        session.say("", f"The rest has to be read from its source, with {source.key}.")
    if any(fact.party.startswith(CATALOGUE) for fact in facts):
        session.say("", "It is told of no customer; it counts for all that use it.")
    whose = {fact.party for fact in facts if fact.thing != TO_REFRESH}
    for party in sorted(p for p in whose if not p.startswith(CATALOGUE)):
        mine = [fact for fact in facts if fact.party == party]
        session.say(*_document(party, mine, config))


def _kept(found: Settings, id_: str) -> bytes:
    """The body of a delivery in the quarantine."""
    kept = Quarantine(session.redis(found)).get(id_)
    if kept is None:
        raise BridgeError(
            f"{id_}: not in the quarantine; see `{program()} quarantine list`"
        )
    return kept.body


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
    things, now = fold(History(facts)), time.time_ns() // 1_000_000
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
