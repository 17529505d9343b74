"""`replay`: lets the workers fold accounts again from their facts, and write what differs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import click
from redis import Redis

from bridge.actions import parties_of, retry_all
from bridge.cli import Command, Session, opened, program
from bridge.cli.operate import replay_kept
from bridge.cli.output import confirm, note, one_of, show, yes_option
from bridge.cli.plan import costs, planned, queue
from bridge.deliveries import Filter, deliveries
from bridge.domain.facts import source_of
from bridge.domain.values import DAY_MS
from bridge.errors import BridgeError
from bridge.plan import Planned, totals
from bridge.sources import by_name
from bridge.store import keys
from bridge.store.accept import JOURNAL
from bridge.store.index import Index
from bridge.store.inspect import StateReader, figures
from bridge.wording import count, instant_of, moment

AGO = re.compile(r"(\d{1,9})(s|min|h|d)")

UNITS_MS = {"s": 1000, "min": 60_000, "h": 3_600_000, "d": DAY_MS}


class Chosen(NamedTuple):
    """The accounts to fold again, and the parties among them that have none."""

    accounts: Sequence[str]
    parties: Sequence[str] = ()


def instant(
    context: click.Context, option: click.Parameter, text: str | None
) -> int | None:
    """Read ISO 8601 (UTC where it does not say), or a length of time before now (`2h`)."""
    if text is None:
        return None
    if before := AGO.fullmatch(text):
        return time.time_ns() // 1_000_000 - int(before[1]) * UNITS_MS[before[2]]
    try:
        return instant_of(text)
    except ValueError:
        raise click.BadParameter("like 2026-11-01T09:00, or like 2h") from None


@click.command(cls=Command)
@click.option("--account", metavar="ACCOUNT|PARTY", help="This account.")
@click.option("--source", help="Every account with a customer of this source.")
@click.option("--since", callback=instant, help="What came since: 2h, 2026-11-01.")
@click.option("--until", callback=instant, help="What came up to then.")
@click.option("--quarantine", is_flag=True, help="Every quarantined delivery.")
@click.option("--rules", is_flag=True, help="All that new rules or a version change.")
@click.option("--whole", is_flag=True, help="Write what does not differ, too.")
@click.option("--no-wait", is_flag=True, help="Return once it is queued.")
@yes_option
def replay(
    account: str | None,
    source: str | None,
    since: int | None,
    until: int | None,
    **flags: bool,
) -> None:
    """Fold accounts again from their facts, and write what differs.

    Instead, --quarantine reads quarantined deliveries again. What came in an interval is
    read from the journal, which holds the last 10,000 events; --source limits it.

    \b
    Example:
      python -m bridge replay --account acme-101
      python -m bridge replay --source stripe --since 2h
      python -m bridge replay --rules
    """
    ways = (account, source or since or until, flags["quarantine"], flags["rules"])
    if sum(map(bool, ways)) != 1:
        each = "--account, --source, --since/--until, --quarantine, --rules"
        raise click.UsageError(f"give one of {each}")
    if flags["quarantine"]:
        replay_kept(None)
        return
    here, due = opened(), None
    wanted = Filter(source or "", since=since or 0, until=until or 0)
    if account:
        chosen = _named(here.redis, account)
    elif flags["rules"]:
        due = _due(here)
        chosen = Chosen([one.account for one in due])
    else:
        chosen = (_came if since or until else _of)(here, wanted)
    if not account:
        due = _due(here, chosen.accounts) if due is None else due
        _confirm(here, due, chosen, yes=flags["yes"])
    tried = retry_all(here.redis, chosen.parties)
    if chosen.accounts:
        queue(here, chosen.accounts, wait=not flags["no_wait"], whole=flags["whole"])
    show(chosen._asdict(), lambda _: [f"{tried:,} held tried again"] if tried else [])


def _due(here: Session, only: Sequence[str] | None = None) -> list[Planned]:
    """The accounts, or those of *only* some, to which something would be sent."""
    return [one for one in planned(here, only) if one.is_due]


def _named(redis: Redis, name: str) -> Chosen:
    parties = parties_of(redis, [name])
    standings = [one for one in StateReader(redis).standings(parties) if one]
    accounts = {one.account for one in standings if one.account}
    if not accounts and standings:
        return Chosen([], parties)
    return Chosen(sorted(accounts) or [name])


def _of(here: Session, wanted: Filter) -> Chosen:
    """All of a source. Raises BridgeError where there is nothing of it."""
    source = wanted.source
    rows = Index(here.redis).rows()
    accounts = [r.account for r in rows if source in map(source_of, r.parties)]
    listed = StateReader(here.redis).listed(keys.HELD)
    held = [one.party for one, _ in listed if not one.account]
    chosen = Chosen(sorted(accounts), [p for p in held if source_of(p) == source])
    if chosen == ([], []):
        raise BridgeError(f"nothing of {source} is here; see `{program()} sources`")
    return chosen


def _came(here: Session, wanted: Filter) -> Chosen:
    """What the journal says came, and of whom."""
    if wanted.source:
        one_of(by_name(here.settings.sources), wanted.source, "source")
    redis: Any = here.redis
    for first, _ in redis.xrange(keys.JOURNAL, count=1):
        begins = int(first.partition(b"-")[0])
        if redis.xlen(keys.JOURNAL) >= JOURNAL and wanted.since < begins:
            note(f"the journal reaches back to {moment(begins)} UTC, and no further")
    found = deliveries(here.redis, wanted, most=2 * JOURNAL).lines
    accounts = {one.account for one in found if one.account}
    parties = {one.party for one in found if one.party and not one.account}
    return Chosen(sorted(accounts), sorted(parties))


def _confirm(here: Session, due: list[Planned], chosen: Chosen, *, yes: bool) -> None:
    """Say how many accounts are *due* to be written and what that costs, and ask."""
    accounts, parties = chosen
    sums = totals(due, figures(here.redis), here.settings.vitally_budget_share)
    note(f"{len(due):,} of {count(len(accounts), 'account')} differ: {costs(sums)}")
    what = f"{count(len(accounts), 'account')} and {len(parties):,} held"
    confirm(f"Type yes to replay {what}", "yes", yes=yes)
