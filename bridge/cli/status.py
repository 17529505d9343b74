"""The state of the bridge: `status` counts events, `doctor` looks for problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from redis import Redis

from bridge.cli import Command, configured, opened, program, reached, vitally_of
from bridge.cli.output import show, table, watched
from bridge.errors import BridgeError, ConfigError, SourceError, VitallyError
from bridge.lamps import CHOSEN, Lamp, complete, look
from bridge.settings import Settings
from bridge.sources import MADE, OBSERVED, every, listed, switched_on, weak_secrets
from bridge.store.health import unfit
from bridge.store.inspect import Figures, Look, figures
from bridge.vitally.replies import Rate
from bridge.webhook.source import Source
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

GRADE = {"bad": BAD, "warn": WARN, "note": NOTE}
"""Level of a lamp -> its grade."""

NAMED = 10
"""At most this many incomplete histories are named."""

Findings = Iterator[tuple[str, str]]
"""Each check: its grade, and a sentence that says what to do."""


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
    lit = look(session.redis, session.settings, totals)
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
    oldest, writes = totals.oldest_ms, "running"
    if totals.breaker:
        writes = f"STOPPED: {totals.breaker}"
    elif totals.paused is not None:
        writes = f"PAUSED by hand: {totals.paused}"
    rest = {
        "oldest unsettled": "none" if oldest is None else ago(oldest),
        "to be written": to_write(totals, seconds),
        "jobs waiting": totals.waiting,
        "requests to Vitally": f"{totals.writes} made, {totals.saved} jobs needed none",
        "workers": ", ".join(totals.heard) or "none heard for 15 s: is one running?",
        "writes": writes,
        "incomplete histories": totals.incomplete,
        "accounts with unknown traits": totals.unknown,
        "accounts others changed": _drift(totals),
        "objects to read, but no API key": totals.unread,
        "in the quarantine": _in_quarantine(totals),
        **known,
    }
    yield from (*table((), sums), "", *table((), rest.items()))
    wrong = [lamp for lamp in lit if lamp.kind not in {*CHOSEN, "held"}]
    if wrong:
        yield from ("", *table((), map(_lamp, wrong)))


def _lamp(lamp: Lamp) -> tuple[str, str]:
    """The grade of a lamp, and what it says."""
    return GRADE[lamp.level], f"{lamp.text} {lamp.hint}"


def stopped(totals: Figures) -> str:
    """Why nothing is written now; "": nobody has stopped it."""
    if totals.paused is not None:
        return f"writes are paused ({totals.paused}): see `{program()} resume`"
    return f"writes are stopped: {totals.breaker}" if totals.breaker else ""


def to_write(totals: Figures, seconds: float) -> str:
    """Say how much waits to be written, and how long that takes."""
    if not totals.dirty:
        return "nothing"
    parties = count(totals.dirty, "party", "parties")
    about = f"about {ago(seconds * 1000)}"
    if totals.breaker or totals.dry_run or totals.paused is not None:
        return f"{parties}, {about} once writes go on"
    return f"{parties}, drained in {about}"


def _drift(totals: Figures) -> str:
    """How many accounts others have changed, and since when that is known."""
    if totals.listed_at is None:
        return f"{totals.drift or 'not known'}; Vitally was never read"
    read = ago(totals.now_ms - totals.listed_at)
    return f"{totals.drift}; Vitally was read {read} ago"


def _in_quarantine(totals: Figures) -> str:
    events = count(totals.quarantined, "event")
    deliveries = count(totals.quarantine_deliveries, "delivery", "deliveries")
    dropped = count(totals.quarantine_dropped, "delivery was", "deliveries were")
    more = f"; {dropped} dropped" if totals.quarantine_dropped else ""
    return f"{events} in {deliveries}, {totals.quarantine_bytes:,} bytes{more}"


@click.command(cls=Command)
def doctor() -> None:
    """Check settings, Redis, Vitally, workers, histories and the counting.

    Problems come first. The exit status is 1 if there are any.

    \b
    Example:
      python -m bridge doctor
    """
    findings = sorted(_examine(configured()[0]), key=lambda one: GRADES.index(one[0]))
    data = [{"grade": grade, "what": what} for grade, what in findings]
    lines = [f"{grade:>4}  {what}" for grade, what in findings]
    show(data, lambda _: lines)
    if bad := sum(grade == BAD for grade, _ in findings):
        raise BridgeError(f"{count(bad, 'problem')} to fix: see BAD above")


def _examine(settings: Settings) -> Findings:
    yield GOOD, "the settings are complete"
    if settings.bridge_dry_run:
        yield DRY, f"nothing is written to Vitally: see `{program()} plan`"
    yield from _sources(settings)
    yield from _vitally(settings)
    yield from _keys(settings)
    try:
        redis = reached(settings)
    except BridgeError as error:
        yield BAD, str(error)
        return
    yield from _redis(redis, settings)
    totals = figures(redis)
    yield from _running(redis, settings, totals)
    yield from _histories(redis, totals)
    yield _counting(redis)


def _sources(settings: Settings) -> Findings:
    values = settings.sources
    if on := [source.title for source in switched_on(values)]:
        yield GOOD, f"sources that are on: {', '.join(on)}"
    else:
        names = ", ".join(source.options[0].name for source in every(values))
        yield BAD, f"no source is on; set one of {names}"
    hint = f"see `{program()} quarantine list`; to end this, remove its `observe` line"
    for name in sorted(values[OBSERVED]):
        yield NOTE, f"{name} is only observed, nothing of it reaches Vitally: {hint}"
    for weak in weak_secrets(settings):
        yield NOTE, f"a weak secret: {weak}"
    for source in values.get(MADE, {}).values():
        if not source.enabled(values):
            yield NOTE, f"{source.name} is off: {source.missing(values)} is not set"


def _keys(settings: Settings) -> Findings:
    """Whether the sources take the keys of their own APIs."""
    for source in switched_on(settings.sources):
        try:
            api = source.api(settings.sources)
            if api and api.probe():
                yield GOOD, f"{source.title} takes {source.key}"
        except SourceError as error:
            yield (BAD if error.refused else WARN), error.reason
        except ConfigError as error:
            yield BAD, str(error)


def _vitally(settings: Settings) -> Findings:
    rates: list[Rate] = []
    base = settings.vitally_base_url
    try:
        vitally_of(settings, rates.append).probe()
    except VitallyError as error:
        yield BAD, f"Vitally at {base}: {error.reason} ({error.status or 'no answer'})"
        return
    yield GOOD, f"Vitally takes the key at {base}"
    for rate in rates[-1:]:
        mine = int(rate.limit * settings.vitally_budget_share)
        left = f"{rate.remaining} of {rate.limit} units left this minute"
        yield GOOD, f"{left}; the bridge uses up to {mine}"
    if not rates:
        yield NOTE, "Vitally's reply says nothing of its rate limit"


def _redis(redis: Redis, settings: Settings) -> Findings:
    info: dict[str, Any] = dict(redis.info())
    version, used = info.get("redis_version", "?"), info.get("used_memory", 0) / 1e6
    yield GOOD, f"Redis {version} answers; {used:.1f} MB are used"
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield WARN, f"Redis may evict keys ({policy}): what it evicts, nothing finds"
    appends = info.get("aof_enabled", 1)
    last = "the last seconds" if appends else "all events since a snapshot"
    waits = settings.bridge_durability == "fsync" and not unfit(redis)
    for source in switched_on(settings.sources):
        yield _protection(source, settings, last, waits)


def _protection(
    source: Source, settings: Settings, last: str, waits: bool
) -> tuple[str, str]:
    """What becomes of the *last* that came from a source if the machine of Redis dies."""
    dies = f"if Redis' machine dies: {last} of {source.title}"
    if waits:
        return GOOD, f"{dies} stay, as a 2xx waits for the disk (BRIDGE_DURABILITY)"
    if source in listed(settings.sources):
        return GOOD, f"{dies} come again from its own list ({source.key})"
    key = f"{source.key} or " if source.archive else ""
    return NOTE, f"{dies} may be lost; set {key}BRIDGE_DURABILITY=fsync"


def _running(redis: Redis, settings: Settings, totals: Figures) -> Findings:
    """The lamps that are lit."""
    if heard := totals.heard:
        yield GOOD, f"{count(len(heard), 'worker')} heard: {', '.join(heard)}"
    grade = NOTE if totals.listed_at is None else GOOD
    yield grade, f"accounts others changed: {_drift(totals)}"
    for title, words in complete(totals, settings).items():
        yield (NOTE if words.startswith("not") else GOOD), f"{title} is {words}"
    said = {"source_key", "dry_run"} if settings.bridge_dry_run else {"source_key"}
    lit = look(redis, settings, totals)
    yield from (_lamp(one) for one in lit if one.kind not in said)
    if totals.quarantine_deliveries or totals.quarantine_dropped:
        kept = f"in the quarantine: {_in_quarantine(totals)}"
        yield NOTE, f"{kept}; see `{program()} quarantine list`"


def _histories(redis: Redis, totals: Figures) -> Findings:
    names = Look(redis).incomplete(NAMED)
    if not names:
        yield GOOD, "every customer was seen from its creation"
        return
    more = totals.incomplete - len(names)
    rest = f" and {more:,} more" if more > 0 else ""
    yield NOTE, f"incomplete histories: {', '.join(names)}{rest}"


def _counting(redis: Redis) -> tuple[str, str]:
    """Compare the counters with a scan; while events come in the two may differ briefly."""
    for _ in range(3):
        totals = figures(redis)
        parties = list(Look(redis).every_standing())
        after = figures(redis)
        same = ("workers", "oldest_ms", "now_ms")
        if totals == after._replace(**{name: getattr(totals, name) for name in same}):
            break
    else:
        return NOTE, "events are coming in; the counting was not checked by a scan"
    words = ("settled", "pending", "held", "parked")
    scanned = {word: sum(getattr(one, word) for one in parties) for word in words}
    scanned["settled"] += totals.forgotten
    scanned["accepted"] = sum(scanned.values())
    off = [
        f"{word}: counted {getattr(totals, word)}, found {number}"
        for word, number in scanned.items()
        if getattr(totals, word) != number
    ]
    inside = totals.accepted + totals.duplicate + totals.ignored + totals.quarantined
    if totals.received != inside:
        off.append(f"received: counted {totals.received}, its parts are {inside}")
    if off:
        return BAD, f"the counting is off: {'; '.join(off)}"
    return GOOD, f"the counting is right: {count(totals.accepted, 'event')} accepted"
