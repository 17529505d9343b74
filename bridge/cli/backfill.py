"""`python -m bridge backfill`: take in what a source has of its customers today.

Each customer is read by itself, which costs a request or two, where a list of all
subscriptions would cost less: but so one accept holds all of a customer as it was at
one instant, nothing stays in memory, and after any customer it can be interrupted.
Writing to Vitally takes longer than reading by far.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import click
from redis import Redis
from redis.exceptions import RedisError

from bridge.cli import session
from bridge.cli.archives import Progress, archive_of, note, patiently
from bridge.cli.operate import NO_VITALLY
from bridge.cli.preview import preview
from bridge.cli.program import program
from bridge.config import Config
from bridge.domain.facts import Fact
from bridge.errors import BridgeError, SourceUnreadError
from bridge.ingest import Ingress
from bridge.queue import Queue
from bridge.settings import Settings
from bridge.store.inspect import Figures, drained_in, figures
from bridge.store.refresh import Cursor
from bridge.webhook.source import Archive, Event, Source

MOST_COUNTED = 10_000
"""Customers that are counted before it begins."""

AHEAD = 100
"""Jobs that may wait: what happens meanwhile does not wait for a whole backfill."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a shell."""

GONE, UNREAD = "not there", "not understood"

Take = Callable[[str, Sequence[Fact]], str]
"""Does with the facts of a party what the command is for; what became of them."""


class Wanted(NamedTuple):
    """Which customers: those *named*, else all since an instant (seconds)."""

    archive: Archive
    named: Sequence[str]
    since: int | None
    after: str = ""

    def parties(self) -> Iterator[str]:
        """Yield them, with one page in memory."""
        yield from self.named
        more, after = not self.named, self.after
        while more:
            page = patiently(partial(self.archive.parties, self.since, after))
            yield from page.rows
            more, after = bool(page.after), page.after

    def size(self) -> tuple[int, bool]:
        """How many there are, and whether these are all."""
        count = sum(1 for _ in islice(self.parties(), MOST_COUNTED + 1))
        return min(count, MOST_COUNTED), count <= MOST_COUNTED


@click.command()
@click.argument("source")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Began then or later.")
@click.option("--customer", "ids", multiple=True, help="Only this one; repeatable.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, no more.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--restart", is_flag=True, help="From the start, not where it stopped.")
def backfill(source: str, ids: tuple[str, ...], **said: Any) -> None:
    """Take in all that SOURCE has of its customers, as if its webhooks had told it.

    Reads with the source's key; the workers write what differs. An event that is newer
    than the reading wins, whenever it comes. Interrupted, the same command goes on
    where it stopped.

    \b
    Example:
      python -m bridge backfill stripe --dry-run
      python -m bridge backfill stripe --since 2026-01-01
      python -m bridge backfill stripe --customer cus_1 --customer cus_2
    """
    if ids and (said["since"] or said["restart"]):
        raise click.UsageError("--customer goes with neither --since nor --restart")
    found, config = session.settings(without=NO_VITALLY)
    kind, archive = archive_of(source, found)
    client = session.redis(found)
    named = [f"{source}:{one}" for one in dict.fromkeys(ids)]
    wanted = Wanted(archive, named, _seconds(said["since"]))
    if said["dry_run"]:
        _show(wanted, client, config)
    else:
        _take_in(wanted, kind, found, client, said)


def _seconds(day: datetime | None) -> int | None:
    return int(day.replace(tzinfo=UTC).timestamp()) if day else None


def _show(wanted: Wanted, client: Redis, config: Config) -> None:
    def show(party: str, facts: Sequence[Fact]) -> str:
        now = time.time_ns() // 1_000_000
        session.say(*preview(client, config, party, facts, now))
        return "shown"

    missed = _run(wanted, show, Progress("customers", None))
    note("nothing was written")
    _judge(missed)


def _take_in(
    wanted: Wanted, kind: Source, found: Settings, client: Redis, said: dict[str, Any]
) -> None:
    mark = None if wanted.named else Cursor(client, kind.name, wanted.since)
    if mark:
        wanted = wanted._replace(after=_place(mark, restart=said["restart"]))
    count, is_all = _size(wanted)
    least = "" if is_all else "at least "
    note(f"{least}{_cost(wanted, kind, count)}")
    note(f"{least}{_time(count, figures(client), found.vitally_budget_share)}")
    if count and not said["yes"] and sys.stdin.isatty():
        click.confirm("Go on?", abort=True, err=True)
    progress = Progress("customers", count if is_all else None)
    stopped = "; the same command goes on from there" if mark else ""
    try:
        missed = _run(wanted, _door(kind, found, client), progress, mark)
    except KeyboardInterrupt:
        note(f"stopped after {progress.done:,} customers{stopped}")
        sys.exit(INTERRUPTED)
    except (BridgeError, RedisError) as error:
        kind_of = f"Redis does not answer ({type(error).__name__})"
        reason = error if isinstance(error, BridgeError) else kind_of
        done = f"stopped after {progress.done:,} customers{stopped}"
        raise BridgeError(f"{reason}; {done}") from None
    session.say(f"the workers write what differs: `{program()} status`")
    _judge(missed)


def _place(mark: Cursor, *, restart: bool) -> str:
    if restart:
        mark.drop()
    place = mark.place()
    if place is None:
        raise BridgeError(
            "an interrupted backfill asked for other customers: "
            "go on with the same --since, or say --restart"
        )
    return place


def _size(wanted: Wanted) -> tuple[int, bool]:
    try:
        return wanted.size()
    except SourceUnreadError as error:
        hint = "; say --restart" if wanted.after else ""
        raise BridgeError(f"{error}{hint}") from None


def _cost(wanted: Wanted, kind: Source, count: int) -> str:
    where = f", those that follow {wanted.after}" if wanted.after else ""
    return f"{count:,} customers of {kind.title} to read{where}"


def _time(count: int, now: Figures, share: float) -> str:
    ms = round(drained_in(count, now.limit * share, now.cost) * 1000)
    return (
        f"{session.ago(ms)} for one write to Vitally each ({now.cost} units) at "
        f"{share:.0%} of its {now.limit:,} units a minute; what is equal needs none"
    )


def _judge(missed: int) -> None:
    if missed:
        raise BridgeError(f"{missed} customers could not be read; see above")


def _door(kind: Source, found: Settings, client: Redis) -> Take:
    """Take facts in where webhooks come in, and wait while many jobs wait."""
    ingress, queue = Ingress(found, client, [kind]), Queue(client)

    def take(party: str, facts: Sequence[Fact]) -> str:
        waits = False
        while queue.depth() >= AHEAD:
            if not waits:
                note(f"{AHEAD} jobs wait for a worker; going on when they are done")
            waits = True
            time.sleep(1)
        first = facts[0]
        event = Event(first.event, first.kind, first.stamp.at, {})
        return ingress.admit(kind, event, facts, creates=True).receipt

    return take


def _run(
    wanted: Wanted, take: Take, progress: Progress, mark: Cursor | None = None
) -> int:
    """Read one customer after the other; return how many could not be read."""
    became: Counter[str] = Counter()
    for party in wanted.parties():
        became[_one(wanted, take, party)] += 1
        if mark:
            mark.put(party)
        progress.step()
    if mark:
        mark.drop()
    progress.end()
    summed = ", ".join(f"{n:,} {word}" for word, n in sorted(became.items()))
    note(f"{progress.done:,} customers read: {summed or 'there are none'}")
    return became[UNREAD] + (became[GONE] if wanted.named else 0)


def _one(wanted: Wanted, take: Take, party: str) -> str:
    try:
        facts = patiently(partial(wanted.archive.party, party))
    except SourceUnreadError as error:
        note(f"{party}: {error}")
        return UNREAD
    if facts:
        return take(party, facts)
    note(f"{party}: there is no such customer")
    return GONE
