"""The commands for deliveries that could not be read: list, show, replay, drop."""

from __future__ import annotations

import sys

import click

from bridge.cli import session
from bridge.cli.program import program
from bridge.errors import BridgeError
from bridge.ingest import Ingress
from bridge.plain import plain
from bridge.sources import every
from bridge.store.quarantine import Kept, Quarantine

NO_VITALLY = frozenset({"VITALLY_API_KEY"})


@click.group()
def quarantine() -> None:
    """See and replay the authentic deliveries that could not be read.

    \b
    Example:
      python -m bridge quarantine list
      python -m bridge quarantine replay --all
    """


def _shelf() -> Quarantine:
    found, _config = session.settings(without=NO_VITALLY)
    return Quarantine(session.redis(found))


def _one(shelf: Quarantine, id_: str) -> Kept:
    kept = shelf.get(id_)
    if kept is None:
        raise BridgeError(
            f"{id_}: not in the quarantine; see `{program()} quarantine list`"
        )
    return kept


@quarantine.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="For another program.")
def listed(*, as_json: bool) -> None:
    """List what is kept, the oldest first."""
    kept = list(_shelf().all())
    if as_json:
        rows = [one._asdict() | {"body": len(one.body)} for one in kept]
        session.say(*session.as_json(rows))
        return
    if not kept:
        session.say("the quarantine is empty")
        return
    lines = [("ID", "SINCE (UTC)", "SOURCE", "EVENT", "BYTES", "REASON")]
    lines += [
        (k.id, session.moment(k.since), k.source, k.event, str(len(k.body)), k.reason)
        for k in kept
    ]
    session.say(*session.table(lines))


@quarantine.command()
@click.argument("id_", metavar="ID")
@click.option("--raw", is_flag=True, help="The bytes as they came, for a file.")
def show(id_: str, *, raw: bool) -> None:
    """Print one body (it may hold personal data); what is not printable is escaped."""
    body = _one(_shelf(), id_).body
    if raw:
        sys.stdout.buffer.write(body)
        return
    lines = body.decode("utf-8", "backslashreplace").split("\n")
    click.echo("\n".join(map(plain, lines)), nl=False)


@quarantine.command()
@click.argument("id_", metavar="ID")
def drop(id_: str) -> None:
    """Forget one delivery for good; its events are counted as ignored."""
    shelf = _shelf()
    shelf.drop(_one(shelf, id_).id)
    session.say(f"{id_} is dropped")


@quarantine.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="All that is kept.")
def replay(id_: str | None, *, everything: bool) -> None:
    """Read a delivery again, after a fix; one that is read leaves the quarantine.

    Of a batch only what was refused is read again. Ends with 1 where something stays.
    """
    if everything == bool(id_):
        raise click.UsageError("give either an ID or --all")
    found, _config = session.settings(without=NO_VITALLY)
    client = session.redis(found)
    shelf = Quarantine(client)
    ingress = Ingress(found, client, every(found.sources))
    chosen = list(shelf.all()) if everything else [_one(shelf, id_ or "")]
    stay = 0
    for kept in chosen:
        source = ingress.sources.get(kept.source)
        if source is None:
            session.say(f"{kept.id}  the source {kept.source} is off: left where it is")
            stay += 1
            continue
        receipt = ingress.replay(source, kept)
        stay += receipt.receipt == "quarantined"
        reason = f": {receipt.reason}" if receipt.reason else ""
        session.say(f"{kept.id}  {receipt.receipt}{reason}")
    if stay:
        raise BridgeError(f"{stay} of {len(chosen)} stay in the quarantine")
