"""`listen`: shows deliveries as they come, and what becomes of each."""

from __future__ import annotations

import click
import orjson

from bridge.cli import Command, opened
from bridge.cli.explain import came, wrote
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
    account = [f"in account {line.account}"] if line.became and line.account else []
    carried = wrote(line.carried) if line.carried else ()
    return " ".join([moment(line.at)[11:], came(line), *account, *carried])
