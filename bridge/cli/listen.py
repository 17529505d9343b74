"""`listen`: shows deliveries as they come, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterator

import click
import orjson

from bridge.cli import Command, opened
from bridge.cli.output import one_of, say, wants_json
from bridge.deliveries import Line, follow
from bridge.sources import by_name
from bridge.stop import stop_event
from bridge.wording import moment


@click.command(cls=Command)
@click.option("--source", help="Only deliveries of this source.")
@click.option("--account", help="Only those of this account, or of this party.")
def listen(source: str | None, account: str | None) -> None:
    """Show deliveries and writes as they happen, until Ctrl-C.

    A line when an event comes, and one when it is settled, held or parked, with the
    write that carried it. With --json each line is one object.

    \b
    Example:
      python -m bridge listen
      python -m bridge listen --source stripe --account acme-101
    """
    here, stop = opened(), stop_event()
    if source:
        one_of(by_name(here.settings.sources), source, "source")
    for line in follow(here.redis):
        if stop.is_set():
            return
        if line and _is_wanted(line, source, account):
            say(orjson.dumps(line._asdict()).decode() if wants_json() else _words(line))


def _is_wanted(line: Line, source: str | None, account: str | None) -> bool:
    is_of = account in {None, line.party, line.account}
    return source in {None, line.source} and is_of


def _words(line: Line) -> str:
    name = line.party or line.event or line.delivery
    if line.became:
        return " ".join([moment(line.at)[11:], f"  {name}", line.became, *_after(line)])
    what = " ".join(filter(None, (line.source, line.type, line.event)))
    reason = f": {line.reason}" if line.reason else ""
    return f"{moment(line.at)[11:]} {what} {line.party} {line.receipt}{reason}"


def _after(line: Line) -> Iterator[str]:
    if line.why:
        yield f"({line.why})"
    if line.account:
        yield f"in account {line.account}"
    if line.carried:
        traits = orjson.dumps(line.carried["traits"]).decode()
        yield f"{line.carried['did']} {traits}"
