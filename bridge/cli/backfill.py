"""Commands that read a source's own API: `backfill` customers, find missed events (`gaps`).

Backfill reads customers one by one, at a request or two each. Listing all subscriptions
would take fewer requests; but this way one accept stores a whole customer as of one
instant, nothing accumulates in memory, and it can be interrupted after any customer.
Writing to Vitally takes far longer than reading.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import click
import orjson
from redis import Redis
from redis.exceptions import RedisError

from bridge.cli import Command, Session, opened, program
from bridge.cli.explain import traits
from bridge.cli.output import (
    confirm,
    note,
    progress,
    say,
    tell,
    wants_json,
    yes_option,
)
from bridge.cli.plan import INTERRUPTED, read_vitally
from bridge.completeness import NEWS, Comparison, Verdict
from bridge.domain.account import identify
from bridge.domain.facts import Fact
from bridge.domain.fold import History, fold
from bridge.domain.refresh import is_overtaken, restamped
from bridge.domain.values import DAY_MS
from bridge.errors import (
    BridgeError,
    ConfigError,
    SourceError,
    SourceUnreadError,
)
from bridge.explain import worked_out
from bridge.ingest import Ingress
from bridge.queue import Queue
from bridge.reconcile import FRESH_MS
from bridge.settings import Settings
from bridge.sources import OBSERVED, every
from bridge.sources.http import all_rows
from bridge.store import keys
from bridge.store.connect import milliseconds
from bridge.store.inspect import StateReader, drained_in, figures
from bridge.store.refresh import Cursor
from bridge.webhook.source import Archive, Page, Source
from bridge.wording import ago, count, moment

TRIES = 8
"""Tries of one request before the command gives up."""

LONGEST_WAIT = 120.0
"""Seconds."""

MOST_COUNTED = 10_000
"""Customers counted before a backfill begins; beyond that it says "at least"."""

AHEAD = 100
"""Most jobs of a backfill that may wait, so that new events are not held up."""

READS = 3
"""Reads of a customer that a worker keeps reading at the same time."""

GONE, UNREAD = "not there", "not understood"
OVERTAKEN = "read by a worker meanwhile"

DAY = click.DateTime(["%Y-%m-%d"])


T = TypeVar("T")

Take = Callable[[str, Sequence[Fact]], str]
"""Handles the facts of a party; returns a word for the outcome."""


@click.command(cls=Command)
@click.argument("source")
@click.option("--since", type=DAY, help="Only customers created then or later.")
@click.option("--customer", "ids", multiple=True, help="Only this one; repeatable.")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@yes_option
@click.option("--restart", is_flag=True, help="Start over, not where it stopped.")
def backfill(
    source: str, since: datetime | None, ids: tuple[str, ...], **flags: bool
) -> None:
    """Read all customers of SOURCE, as if webhooks had reported them.

    Counts SOURCE's customers, reads what Vitally has, then each customer from SOURCE's
    API with its key; the workers write what differs. An event newer than the read wins,
    whenever it arrives. After an interruption the same command goes on where it stopped.

    \b
    Example:
      python -m bridge backfill stripe --dry-run
      python -m bridge backfill stripe --since 2026-01-01
      python -m bridge backfill stripe --customer cus_1 --customer cus_2
      python -m bridge backfill hubspot
    """
    if ids and (since or flags["restart"]):
        raise click.UsageError("--customer goes with neither --since nor --restart")
    session = opened()
    kind, archive = _archive(source, session.settings)
    begun = int(since.replace(tzinfo=UTC).timestamp()) if since else None
    cursor = None if ids or flags["dry_run"] else Cursor(session.redis, source, begun)
    after = _place(cursor, restart=flags["restart"]) if cursor else ""

    def parties() -> Iterator[str]:
        named = (f"{source}:{id_}" for id_ in dict.fromkeys(ids))
        return named if ids else _rows(partial(archive.parties, begun), after)

    total, paced = None, parties()
    if flags["dry_run"]:
        take = _preview(session)
    else:
        take = _taking_in(kind, session)
        paced = _in_turn(paced, session.redis, cursor)
        total = _announce(parties(), after, kind, session, yes=flags["yes"])
        if not ids:
            _first_contact(session)
    read = partial(_read, archive, take)
    became = _each(paced, "customer", read, total, lambda: cursor is not None)
    note(f"{count(became.total(), 'customer')} read: {_sums(became, 'there are none')}")
    if flags["dry_run"]:
        note("nothing was written")
    words = f"the workers write what differs: see `{program()} status`"
    lines = [] if flags["dry_run"] else [words]
    tell({"read": became.total(), **became}, *lines)
    if unread := became[UNREAD] + (became[GONE] if ids else 0):
        raise BridgeError(f"{count(unread, 'customer')} could not be read; see above")


@click.command(cls=Command)
@click.argument("source")
@click.option("--days", type=click.IntRange(1, 365), default=30, help="How far back.")
@click.option("--dry-run", is_flag=True, help="Only list what is missing.")
def gaps(source: str, days: int, *, dry_run: bool) -> None:
    """Compare what SOURCE says happened with what came, and take in what is missing.

    A worker does so every few minutes; this looks further back. What did come changes
    nothing. After an interruption the same command goes on where it stopped.

    \b
    Example:
      python -m bridge gaps stripe --days 3 --dry-run
    """
    settings, _, redis = opened()
    kind, archive = _archive(source, settings)
    if kind.name in settings.sources.get(OBSERVED, ()):
        raise BridgeError(f"{kind.name} is only observed; nothing of it is taken in")
    if kind.keeps_days and days > kind.keeps_days:
        days = kind.keeps_days
        note(f"{kind.title} lists {days} days; what is older only a backfill can find")
    comparison = Comparison(settings, redis, kind, archive)
    cursor = GapsCursor(redis, kind.name, days, dry_run=dry_run)
    span, place = cursor.span, cursor.after

    def ask(after: str) -> Page:
        try:
            verdicts, after = comparison.page(span, after, span[0], take=not dry_run)
        except SourceUnreadError:
            # The place may be what it does not understand.
            cursor.put("")
            note("the next run begins anew")
            raise
        cursor.put(after)
        return Page(verdicts, after)

    news: list[Verdict] = []

    def take(verdict: Verdict) -> str:
        if verdict.word in NEWS:
            news.append(verdict)
        return verdict.word

    became = _each(_rows(ask, place), "change", take, None, lambda: bool(cursor.after))
    lines = (f"{moment(one.at)}  {one.word}  {one.type}  {one.event}" for one in news)
    read = f"{count(became.total(), 'change')} of {count(days, 'day')}"
    events = [one._asdict() | {"at": moment(one.at)} for one in news]
    data = {"read": became.total(), **became, "events": events}
    tell(data, *lines, f"{read}: {_sums(became, 'nothing to read')}")


class GapsCursor:
    """Where an interrupted `gaps` over so many *days* goes on.

    *span*: what it compares (ms); *after*: a place in the list, "" for its beginning.
    """

    def __init__(self, redis: Redis, source: str, days: int, *, dry_run: bool) -> None:
        self._redis: Any = redis
        self._source, self._days, self._dry_run = source, days, dry_run
        raw = None if dry_run else self._redis.hget(keys.GAPS, source)
        was, first, last, after = orjson.loads(raw)[:4] if raw else (0, 0, 0, "")
        now = milliseconds(redis)
        # What happened since then would not be looked at.
        if was != days or now - last > DAY_MS:
            last, after = now + 1000, ""
            first = last - days * DAY_MS
        if after:
            span = f"{moment(first)} to {moment(last)} UTC"
            note(f"going on where it was interrupted, with {span}")
        self.span, self.after = (first, last), after

    def put(self, after: str) -> None:
        """Store the place; "": there is nothing to go on with."""
        if self._dry_run:
            return
        if after:
            row = orjson.dumps([self._days, *self.span, after])
            self._redis.hset(keys.GAPS, self._source, row)
        else:
            self._redis.hdel(keys.GAPS, self._source)
        self.after = after


# --- What both do ----------------------------------------------------------------------


def _archive(name: str, settings: Settings) -> tuple[Source, Archive]:
    """The source *name* and its API. Raises BridgeError, ConfigError."""
    able = {source.name: source for source in every(settings.sources) if source.archive}
    source = able.get(name)
    if source is None or source.archive is None:
        reason = "has no API that the bridge can read; these have"
        raise BridgeError(f"{name} {reason}: {', '.join(able)}")
    archive = source.archive(settings.sources)
    if archive is None:
        reason = f"{source.key} is required to read {source.title}'s own API"
        raise ConfigError([reason])
    return source, archive


def _rows(ask: Callable[[str], Page], after: str = "") -> Iterator[Any]:
    """Yield the rows of a list that follow *after*, page by page."""

    def page(after: str) -> Page:
        found = _patiently(partial(ask, after))
        if found.note:
            note(found.note)
        return found

    return all_rows(page, after)


def _patiently(ask: Callable[[], T]) -> T:
    """Return what *ask* returns; try again if the source fails or limits requests."""
    for tried in range(TRIES):
        try:
            return ask()
        except SourceUnreadError:
            raise
        except SourceError as error:
            if error.refused or tried == TRIES - 1:
                raise
            asked = 2.0**tried if error.retry_after is None else error.retry_after
            wait = min(asked, LONGEST_WAIT)
            note(f"{error}; trying again in {wait:g} s")
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _each(
    parts: Iterable[T],
    what: str,
    take: Callable[[T], str],
    total: int | None = None,
    goes_on: Callable[[], bool] = bool,
) -> Counter[str]:
    """Call *take* with each of *parts*, print progress, and count the outcomes.

    *goes_on*: whether the same command goes on where it is interrupted.
    """
    became: Counter[str] = Counter()
    begun = time.monotonic()

    def so_far(done: int, _: T) -> str:
        seconds, left = time.monotonic() - begun, (total or 0) - done
        about = f", {left:,} left: about {ago(left * seconds / done * 1000)}"
        rate = f"{count(done, what)}, {done / seconds:.1f} a second"
        return rate + about if left > 0 else rate

    try:
        for part in progress(parts, so_far):
            became[take(part)] += 1
    except (KeyboardInterrupt, BridgeError, RedisError) as error:
        way_on = "; the same command goes on from there" if goes_on() else ""
        stopped = f"stopped after {count(became.total(), what)}{way_on}"
        if isinstance(error, KeyboardInterrupt):
            note(stopped)
            sys.exit(INTERRUPTED)
        away = f"Redis does not answer ({type(error).__name__})"
        reason = away if isinstance(error, RedisError) else error
        raise BridgeError(f"{reason}; {stopped}") from None
    return became


def _sums(became: Counter[str], none: str) -> str:
    return ", ".join(f"{n:,} {word}" for word, n in sorted(became.items())) or none


# --- Customers -------------------------------------------------------------------------


def _place(cursor: Cursor, *, restart: bool) -> str:
    """The customer after which to go on; "" means from the start."""
    if restart:
        cursor.drop()
    place = cursor.place()
    if place is None:
        other = "an interrupted backfill had another --since"
        raise BridgeError(f"{other}: repeat that one to go on, or use --restart")
    return place


def _announce(
    parties: Iterator[str], after: str, kind: Source, session: Session, *, yes: bool
) -> int | None:
    """Print what the backfill costs and ask at a terminal, unless *yes*.

    Return the count, if known.
    """
    first = islice(parties, MOST_COUNTED + 1)
    try:
        size = sum(1 for _ in progress(first, lambda so_far, _: f"{so_far:,} so far"))
    except KeyboardInterrupt:
        note("stopped before the first customer")
        sys.exit(INTERRUPTED)
    except SourceUnreadError as error:
        hint = "; say --restart" if after else ""
        raise BridgeError(f"{error}{hint}") from None
    counted = min(size, MOST_COUNTED)
    least = "at least " if size > counted else ""
    where = f", those that follow {after}" if after else ""
    note(f"{least}{count(counted, 'customer')} of {kind.title} to read{where}")
    totals, share = figures(session.redis), session.settings.vitally_budget_share
    needed = ago(drained_in(counted, totals.limit * share, totals.cost) * 1000)
    write = f"one write to Vitally each ({count(totals.cost, 'unit')})"
    pace = f"{share:.0%} of its {totals.limit:,} units a minute"
    note(f"{least}{needed} for {write} at {pace}; unchanged accounts need none")
    # It removes nothing and keeps to the budget, so a script need not say yes.
    if size and sys.stdin.isatty():
        confirm("Type yes to go on", "yes", yes=yes)
    return None if least else size


def _first_contact(session: Session) -> None:
    """Read what Vitally has: what is right there needs no write, and what is new one."""
    settings, now = session.settings, figures(session.redis)
    age = now.now_ms - (now.listed_at or 0)
    if not (settings.vitally_api_key and settings.vitally_base_url):
        note("VITALLY_API_KEY is not set here: each customer may cost a write")
    elif age < FRESH_MS:
        note(f"Vitally's accounts were read {ago(age)} ago")
    else:
        note(f"{count(read_vitally(session), 'account')} in Vitally")


def _in_turn(
    parties: Iterator[str], redis: Redis, cursor: Cursor | None
) -> Iterator[str]:
    """Yield *parties*, each once there is room for its job; *cursor* keeps the place.

    What was read must not wait: it would be older than what a worker reads meanwhile.
    """
    queue = Queue(redis)
    for party in parties:
        if queue.depth() >= AHEAD:
            note(f"{AHEAD} jobs wait for a worker; going on when they are done")
        while queue.depth() >= AHEAD:
            time.sleep(1)
        yield party
        if cursor:
            cursor.put(party)
    if cursor:
        cursor.end()


def _read(archive: Archive, take: Take, party: str) -> str:
    for _ in range(READS):
        try:
            facts = _patiently(partial(archive.party, party))
        except SourceUnreadError as error:
            note(f"{party}: {error}")
            return UNREAD
        if not facts:
            note(f"{party}: there is no such customer")
            return GONE
        if (word := take(party, facts)) != OVERTAKEN:
            return word
        time.sleep(1)
    return OVERTAKEN


def _taking_in(kind: Source, session: Session) -> Take:
    """Take facts in where webhooks come in, unless a worker has read the party since."""
    settings, _, redis = session
    ingress, state = Ingress(settings, redis, [kind]), StateReader(redis)

    def take(party: str, facts: Sequence[Fact]) -> str:
        known = state.member(party).party({})
        if is_overtaken(facts, known):
            return OVERTAKEN
        return ingress.admit(kind, restamped(facts, known)).receipt

    return take


def _preview(session: Session) -> Take:
    """Say what the account of a party would hold in Vitally, and what differs.

    The other parties of the account count as far as the bridge knows them.
    """
    state, line = StateReader(session.redis), note if wants_json() else say

    def take(party: str, facts: Sequence[Fact]) -> str:
        member = state.member(party)
        read = restamped(facts, member.party({}))
        history = History([*member.history.facts, *read], member.history.retained)
        member = member._replace(history=history, things=fold(history))
        account, reason, _ = identify(member.things)
        if account is None:
            line(f"{party}: held, {reason}")
            return "shown"
        kept = state.record(account, state.members_of(account))
        others = [one for one in kept.parties if one.name != party]
        parties = [*others, member.party(kept.catalogues)]
        data = worked_out(account, parties, session.config, kept.ledger, kept.history)
        for words in (f"{party}: account {account}, {data['name']!r}", *traits(data)):
            line(words)
        return "shown"

    return take
