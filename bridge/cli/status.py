"""The state of the bridge: `status` counts events, and says what waits and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click

from bridge.cli import Command, opened, program
from bridge.cli.output import show, table, watched
from bridge.lamps import CHOSEN, Lamp, complete, lit_now
from bridge.store.inspect import Figures, figures
from bridge.wording import ago, count

SUMS = (
    ("received", "= accepted + duplicate + ignored + quarantined"),
    ("  accepted", "= settled + pending + held + parked"),
    ("    settled", "in Vitally, or nothing to write{discarded}"),
    ("    pending", "{pending}"),
    ("    held", "account not known: {program} held"),
    ("    parked", "could not be written: {program} parked"),
    ("  duplicate", "seen before"),
    ("  ignored", "no effect on an account"),
    ("  quarantined", "not read: {program} quarantine list"),
)
"""Each figure, indented below the one that contains it -> its meaning."""

DRY, BAD, WARN, NOTE, GOOD = GRADES = ("DRY RUN", "BAD", "warn", "note", "ok")
"""Nothing is written; a problem to fix; something wrong; something to know; all well."""

GRADE = {"bad": BAD, "warn": WARN, "note": NOTE, "ok": GOOD}
"""Level of a lamp or a trap -> its grade."""


@click.command(cls=Command)
@watched
def status() -> None:
    """Show what became of all events, and when all waiting changes will be written.

    \b
    Example:
      python -m bridge status
    """
    session = opened()
    totals = figures(session.redis)
    seconds = totals.drained_in(session.settings.vitally_budget_share)
    lit = lit_now(session.redis, session.settings, totals)
    data = totals._asdict() | {"drain_seconds": round(seconds), "lamps": lit}
    known = complete(totals, session.settings)
    show(data, lambda _: _in_words(totals, seconds, lit, known))


def _in_words(
    totals: Figures, seconds: float, lit: Sequence[Lamp], known: Mapping[str, str]
) -> Iterator[str]:
    if totals.dry_run:
        yield f"DRY RUN: nothing is written to Vitally; see {program()} plan"
        yield ""
    discarded = f"; {totals.discarded} discarded" if totals.discarded else ""
    discarded += f"; {totals.forgotten} forgotten" if totals.forgotten else ""
    pending = "dry run" if totals.dry_run else "on its way"
    names = {"program": program(), "discarded": discarded, "pending": pending}
    sums = (
        (name, getattr(totals, name.strip()), meaning.format_map(names))
        for name, meaning in SUMS
    )
    find = f": {program()} accounts find --state"
    incomplete = f"{find} incomplete" if totals.incomplete else ""
    unknown = f"{find} unknown" if totals.unknown else ""
    oldest, waits = totals.oldest_ms, waits_for(totals)
    rests = f"not before {waits}" if waits else "running"
    rest = {
        "oldest unsettled": "none" if oldest is None else ago(oldest),
        "to be written": to_write(totals, seconds),
        "jobs waiting": totals.waiting,
        "requests to Vitally": f"{totals.writes} made, {totals.saved} jobs needed none",
        "workers": ", ".join(totals.heard) or "none heard for 15 s: is one running?",
        "writes": stopped(totals).removeprefix("writes are ") or rests,
        "incomplete histories": f"{totals.incomplete}{incomplete}",
        "accounts with unknown traits": f"{totals.unknown}{unknown}",
        "accounts others changed": changed_by_others(totals),
        "objects to read, but no API key": totals.unread,
        "in the quarantine": in_quarantine(totals),
        **known,
    }
    yield from (*table((), sums), "", *table((), rest.items()))
    wrong = [lamp for lamp in lit if lamp.kind not in {*CHOSEN, "held"}]
    if wrong:
        yield from ("", *table((), map(graded, wrong)))


def graded(lamp: Lamp) -> tuple[str, str]:
    """The grade of a lamp, and what it says."""
    return GRADE[lamp.level], f"{lamp.text} {lamp.hint}"


def stopped(totals: Figures) -> str:
    """Why nothing is written now; "": nobody has stopped it."""
    if totals.paused is not None:
        return f"writes are paused ({totals.paused}): see `{program()} resume`"
    return f"writes are stopped: {totals.breaker}" if totals.breaker else ""


def waits_for(totals: Figures) -> str:
    """What has to come before the next write; "": nothing."""
    if not totals.heard:
        return "a worker runs"
    return "Vitally answers" if totals.failing else ""


def to_write(totals: Figures, seconds: float) -> str:
    """Say how much waits to be written, and how long that takes."""
    if not totals.dirty:
        return "nothing"
    about = f"about {ago(seconds * 1000)}"
    waits = waits_for(totals)
    if totals.breaker or totals.dry_run or totals.paused is not None:
        waits = "writes go on"
    how = f"{about} once {waits}" if waits else f"drained in {about}"
    return f"{count(totals.dirty, 'party', 'parties')}, {how}"


def changed_by_others(totals: Figures) -> str:
    """How many accounts others have changed, and since when that is known."""
    if totals.listed_at is None:
        return f"{totals.drift or 'not known'}; Vitally was never read"
    read = ago(totals.now_ms - totals.listed_at)
    return f"{totals.drift}; Vitally was read {read} ago"


def in_quarantine(totals: Figures) -> str:
    events = count(totals.quarantined, "event")
    deliveries = count(totals.quarantine_deliveries, "delivery", "deliveries")
    dropped = count(totals.quarantine_dropped, "delivery was", "deliveries were")
    more = f"; {dropped} dropped" if totals.quarantine_dropped else ""
    return f"{events} in {deliveries}, {totals.quarantine_bytes:,} bytes{more}"
