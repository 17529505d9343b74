"""`python -m bridge why`: explains an account's values ("why does Acme show 900?")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click

from bridge.actions import unknown
from bridge.cli import Command, Session, opened, program, vitally_of
from bridge.cli.output import cell, note, show, table, watched
from bridge.domain.document import TRAITS
from bridge.errors import BridgeError
from bridge.explain import Data, aloud, explanation
from bridge.reconcile import Reconciler
from bridge.store.inspect import Standing, StateReader
from bridge.wording import command, count, moment

MOST_SHOWN = 20
"""Instances of custom objects that are named."""


@click.command(cls=Command)
@click.argument("account")
@click.option("--live", is_flag=True, help="First read what Vitally has now.")
@watched
def why(account: str, *, live: bool) -> None:
    """Show where the traits of ACCOUNT come from: its facts and their events.

    ACCOUNT is Vitally's external id, or a party (stripe:cus_…). What Vitally has is what
    the last write or reading of the account has shown.

    \b
    Example:
      python -m bridge why acme-101
      python -m bridge why acme-101 --live
    """
    session = opened(()) if live else opened()
    state = StateReader(session.redis)
    if live:
        _read_now(session, state, account)
    data = explanation(state, account, session.config)
    if data is None:
        hint = f"see `{program()} held` for parties without an account"
        raise BridgeError(f"{unknown(session.redis, account)}; {hint}")
    show(data, _words)


def _read_now(session: Session, state: StateReader, name: str) -> None:
    """Read from Vitally what it has of an account, or of a party's account."""
    standing, vitally = state.standing(name), vitally_of(session.settings)
    reader = Reconciler(session.redis, vitally, session.config, wait=lambda: None)
    if not reader.look((standing.account if standing else None) or name):
        note("it is being written: what was read just now is not shown; try again soon")


def _words(data: Data) -> Iterator[str]:
    parties: Sequence[Standing] = data["parties"]
    if "fault" in data:
        yield f"{data['account']}: {data['fault']}"
        yield "nothing is written to Vitally for now"
    elif data["account"] is not None:
        yield f"account {data['account']}: {data['name']}"
        if data["missing"]:
            yield "Vitally does not have it any more: it was deleted there"
        yield from ("", *_traits(data))
    elif parties[0].held:
        yield f"{parties[0].party} is held: its account is not known"
        yield f"to link it: {command('link', parties[0].party, 'ACCOUNT')}"
    else:
        yield f"{parties[0].party} has no account yet: its events wait for a worker"
    for party in parties:
        yield from ("", *_party(party, data))
    yield from parts(data)
    yield from instances(data.get("instances", {}))
    if tries := data.get("tries"):
        at = data["next_try"]
        more = [data["failed"], at and f"next try {moment(at)} UTC"]
        words = f"the last write failed; {count(tries, 'try', 'tries')} so far"
        yield from ("", "; ".join(filter(None, [words, *more])))
    if history := data.get("history"):
        yield from ("", "last written (UTC)", *map(_history, history))


def _traits(data: Data) -> list[str]:
    """A row for each trait that is known, unknown for a reason, or in Vitally."""
    known = {**data["facts_say"], **data["unknown"], **data["traits"]}
    names = [trait for trait in dict.fromkeys((*TRAITS, *known)) if trait in known]
    heading = ("TRAIT", "IN VITALLY", "FACTS SAY", "IN VITALLY AT (UTC)")
    rows = [_row(trait, data["traits"].get(trait, {}), data) for trait in names]
    return table(heading, rows) if rows else ["no trait is known"]


def _row(trait: str, about: Data, data: Data) -> tuple[str, ...]:
    key = about.get("key", trait)
    had = value(about["vitally"]) if "vitally" in about else "(not written)"
    if trait in data["unknown"]:
        says = f"unknown: {data['unknown'][trait]}"
    elif key in data["gone"]:
        says = "none: no party supports it any more"
    elif "wanted" in about:
        says = value(about["wanted"])
    elif about and trait in data["facts_say"]:
        says = f"{value(data['facts_say'][trait])}, but it is left to people"
    elif about:
        says = "nothing, so Vitally's value stays"
    else:
        had, says = "(switched off)", value(data["facts_say"][trait])
    at = about.get("seen_at", "")[:19].replace("T", " ")
    by = f" ({'read' if about['seen_by'] == 'read' else 'written'})" if at else ""
    return trait if key == trait else f"{trait} as {key}", had, says, at + by


def value(known: object) -> str:
    """The value of a trait; `none` if it is known that there is none."""
    return "none" if known is None else cell(known)


def differences(data: Data) -> Iterator[str]:
    """What Vitally would hold, each changed value with the current one."""
    for about in data["traits"].values():
        if "wanted" in about:
            had = value(about["vitally"]) if "vitally" in about else "not written yet"
            differs = f"  <- {had}" if about["key"] in data["to_write"] else ""
            yield f"  {about['key']} = {value(about['wanted'])}{differs}"
    for trait, reason in data["unknown"].items():
        yield f"  {trait} is left out: {reason}"
    if not (data["traits"] or data["unknown"]):
        yield "  no subscription, so no traits"


def _party(standing: Standing, data: Data) -> Iterator[str]:
    """How many of a party's events are settled, its facts, and what it pays."""
    words = [f"{standing.settled:,} of {count(standing.rev, 'event')} settled"]
    for word in ("pending", "held", "parked"):
        number = getattr(standing, word)
        words += [f"{number:,} {word}"] if number else []
    yield f"party {standing.party}: {', '.join(words)}"
    if standing.why:
        yield f"  {standing.why}"
    if standing.party in data.get("incomplete", ()):
        yield "  incomplete history: its first events were not seen"
    for fact in data.get("facts", ()):
        if fact["party"] == standing.party:
            yield _fact(fact)


def _fact(fact: Data) -> str:
    word = fact["value"].get("status") or fact["value"].get("account")
    event = f"{fact['kind']} {fact['event']} at {moment(fact['at'])}"
    unsure = "  (ambiguous order)" if fact["ambiguous"] else ""
    what = f"{fact['thing']}  {word}" if word else fact["thing"]
    return f"  {what}  <- {event}{unsure}"


def parts(data: Data) -> Iterator[str]:
    """The parts that sum up to the MRR, each with the rule that makes it so."""
    rows = [
        (p["subscription"] or "all", p["text"], f"{p['amount']:,.2f}", p["rule"])
        for p in data.get("parts", ())
    ]
    if rows:
        yield from ("", *table(("SUBSCRIPTION", "WHAT", "A MONTH", "RULE"), rows))


def instances(states: Mapping[str, str]) -> Iterator[str]:
    """How many subscriptions are instances of a custom object, and which are not shown."""
    if states:
        other = [id_ for id_, word in states.items() if word != "shown"]
        every = count(len(states), "subscription")
        yield ""
        yield f"{every} as a custom object, {len(states) - len(other):,} shown by Vitally"
        yield from (f"  {id_}: {states[id_]}" for id_ in other[:MOST_SHOWN])


def _history(line: Data) -> str:
    name = [f"name={line['name']!r}"] if "name" in line else []
    traits = ", ".join(f"{key}={value(had)}" for key, had in line["traits"].items())
    ids = line.get("deliveries", ())
    came = f"(deliveries {', '.join(ids)})" if ids else ""
    replies = f"({', '.join(line['replies'])})" if line.get("replies") else ""
    words = [f"  {moment(line['at'])}", line["did"], *name, traits, came]
    words += [replies, line.get("reason", "")]
    return " ".join(filter(None, words))


def because(cause: Data) -> str:
    """One cause of a trait, on one line."""
    if "subscription" in cause:
        return f"{cause['subscription']} {aloud(cause)}"
    return f"{cause['source']} sets it directly: {cause['event']}"
