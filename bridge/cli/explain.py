"""`python -m bridge why`: explains an account's values ("why does Acme show 900?")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click

from bridge.actions import unknown
from bridge.cli import Command, Session, opened, program, vitally_of
from bridge.cli.output import cell, note, show, table, watched
from bridge.deliveries import Line, timeline
from bridge.domain.mass import WHAT_TO_DO
from bridge.domain.money import cents, money
from bridge.errors import BridgeError
from bridge.explain import Data, aloud, explanation, reading
from bridge.reconcile import Reconciler
from bridge.store.inspect import Standing, StateReader, figures
from bridge.wording import command, count, moment

MOST_SHOWN = 20
"""Deliveries, and instances of custom objects, that are named."""

NONE = "no subscription of the account counts for it now"
"""What a trait comes from that has no causes."""


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
    data["timeline"] = timeline(session.redis, data, MOST_SHOWN)
    data["dry_run"] = session.settings.bridge_dry_run or figures(session.redis).dry_run
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
        yield from ("", *traits(data))
    elif parties[0].held:
        yield f"{parties[0].party} is held: its account is not known"
        yield f"to link it: {command('link', parties[0].party, 'ACCOUNT')}"
    else:
        yield f"{parties[0].party} has no account yet: its events wait for a worker"
    for party in parties:
        yield from ("", *_party(party, data))
    yield from parts(data)
    yield from reasons(data)
    yield from instances(data.get("instances", {}))
    yield from _due(data)
    if happened := data["timeline"]:
        yield from ("", "what happened (UTC)", *map(_happened, happened))


def _due(data: Data) -> Iterator[str]:
    """When what differs is written, where no event is on its way."""
    waits = any(party.pending + party.parked for party in data["parties"])
    if tries := data.get("tries"):
        at = data["next_try"]
        more = [data["failed"], at and f"next try {moment(at)} UTC"]
        words = f"the last write failed; {count(tries, 'try', 'tries')} so far"
        yield from ("", "; ".join(filter(None, [words, *more])))
    elif data.get("to_write") and not (data["dry_run"] or waits):
        again = command("replay", "--account", data["account"])
        yield from ("", f"to write what differs: {again}")


def traits(data: Data) -> list[str]:
    """A row for each trait: what Vitally has, and what it should have."""
    heading = ("TRAIT", "IN VITALLY", "FACTS SAY", "IN VITALLY AT (UTC)")
    rows = [_row(row, data) for row in data["rows"]]
    return table(heading, rows) if rows else ["no trait is known"]


def _row(row: Data, data: Data) -> tuple[str, ...]:
    trait, key = row["trait"], row["key"]
    had = value(row["vitally"]) if "vitally" in row else "(not written)"
    if "unknown" in row:
        says = f"unknown: {row['unknown']}"
    elif row["gone"]:
        says = "none: no party supports it any more"
    elif "wanted" in row:
        says = value(row["wanted"]) + ("; others changed it" if "ours" in row else "")
    elif key is None:
        had, says = "(switched off)", value(data["facts_say"][trait])
    elif trait in data["facts_say"] and "left" not in row:
        says = f"{value(data['facts_say'][trait])}, but it is left to people"
    else:
        says = "nothing, so Vitally's value stays"
    at = row.get("seen_at", "")[:19].replace("T", " ")
    by = f" ({'read' if row['seen_by'] == 'read' else 'written'})" if at else ""
    return trait if key in {trait, None} else f"{trait} as {key}", had, says, at + by


def value(known: object) -> str:
    """The value of a trait; `none` if it is known that there is none."""
    return "none" if known is None else cell(known)


def _party(standing: Standing, data: Data) -> Iterator[str]:
    """How many of a party's events are settled, its facts, and what it pays."""
    waits = {word: getattr(standing, word) for word in ("pending", "held", "parked")}
    words = [f"{standing.settled:,} of {count(standing.rev, 'event')} settled"]
    words += [f"{number:,} {word}" for word, number in waits.items() if number]
    yield f"party {standing.party}: {', '.join(words)}"
    if standing.why:
        yield f"  {standing.why}"
        if WHAT_TO_DO not in standing.why:
            again, discard = (command(w, standing.party) for w in ("retry", "discard"))
            yield f"  to try it again: {again}; to discard it: {discard}"
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
    return f"  {what}  <- {reading(fact['event']) or event}{unsure}"


def parts(data: Data) -> Iterator[str]:
    """The parts that sum up to the MRR, each with the rule that makes it so."""
    code = data.get("currency")
    rows = [
        (p["subscription"] or "all", p["text"], cents(p["amount"], code), p["rule"])
        for p in data.get("parts", ())
    ]
    if rows:
        mrr = data["facts_say"]["mrr"]
        rows.append(("MRR", "", "none" if mrr is None else money(mrr, code), ""))
        yield from ("", *table(("SUBSCRIPTION", "WHAT", "A MONTH", "RULE"), rows))
    elif "mrr" in data.get("unknown", ()):
        yield from ("", *map(because, data["because"]["mrr"]))


def reasons(data: Data) -> Iterator[str]:
    """What each other trait comes from."""
    every = [row for row in data.get("rows", ()) if "left" not in row]
    others = [row for row in every if row["trait"] != "mrr"]
    rows = [(r["trait"], "; ".join(map(because, r["because"])) or NONE) for r in others]
    yield from ("", *table(("TRAIT", "BECAUSE"), rows)) if rows else ()


def instances(states: Mapping[str, str]) -> Iterator[str]:
    """How many subscriptions are instances of a custom object, and which are not shown."""
    if states:
        other = [id_ for id_, word in states.items() if word != "shown"]
        every = count(len(states), "subscription")
        yield ""
        yield f"{every} as a custom object, {len(states) - len(other):,} shown by Vitally"
        yield from (f"  {id_}: {states[id_]}" for id_ in other[:MOST_SHOWN])


def _happened(one: Data) -> str:
    words = wrote(one["write"]) if "write" in one else [came(one["delivery"])]
    return " ".join([f"  {moment(one['at'])}", *words])


def came(line: Line) -> str:
    """An event, and what became of it."""
    event = reading(line.event) or f"{line.type} {line.event}".strip()
    what = " ".join(filter(None, (line.source, event, line.party)))
    became = ", ".join(filter(None, (line.receipt, line.became)))
    why = f": {line.reason or line.why}" if line.reason or line.why else ""
    delivery = f" (delivery {line.delivery})" if line.delivery else ""
    return f"{what} {became}{why}{delivery}"


def wrote(line: Data) -> Iterator[str]:
    """The words about a write: what it carried, and what Vitally had before."""
    yield str(line["did"])
    if "name" in line:
        yield f"name={line['name']!r}"
    had = {key: f" (had {value(old)})" for key, old in line.get("had", {}).items()}
    if traits := line["traits"].items():
        yield ", ".join(f"{key}={value(new)}{had.get(key, '')}" for key, new in traits)
    if ids := line.get("deliveries"):
        yield f"(deliveries {', '.join(ids)})"
    if replies := line.get("replies"):
        yield f"({', '.join(replies)})"
    yield from (line[word] for word in ("reason", "cause") if word in line)


def because(cause: Data) -> str:
    """One cause of a trait, on one line."""
    event = cause.get("event")
    by = f", {reading(event) or f'by event {event}'}" if event else ""
    return f"{cause.get('subscription') or cause['source']} {aloud(cause)}{by}"
