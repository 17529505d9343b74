"""`doctor`: looks for problems, and for the traps that set-ups are caught in."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from threading import Thread

import click
from redis import Redis

from bridge.cli import Command, configured, program, reached, vitally_of
from bridge.cli.output import confirm, show, yes_option
from bridge.cli.status import (
    BAD,
    DRY,
    GOOD,
    GRADE,
    GRADES,
    NOTE,
    WARN,
    changed_by_others,
    graded,
    in_quarantine,
)
from bridge.deadline import UNTIL
from bridge.errors import (
    BridgeError,
    ConfigError,
    SourceError,
    VitallyError,
    VitallyUnavailableError,
)
from bridge.lamps import complete, lit_now
from bridge.settings import Settings
from bridge.sources import MADE, OBSERVED, every, listed, switched_on, weak_secrets
from bridge.sources.stripe.api import wrong_mode
from bridge.store.health import unfit
from bridge.store.index import MANY, Index
from bridge.store.inspect import Figures, StateReader, figures
from bridge.traps import (
    CANARY,
    PATIENCE,
    TRAPS,
    Evidence,
    note_error,
    read_redis,
    read_stripe,
    read_vitally,
    try_canary,
)
from bridge.vitally.client import Vitally
from bridge.webhook.source import Source
from bridge.wording import count

SNAPSHOT = "all events since a snapshot"

NAMED = 10
"""At most this many incomplete histories are named."""

ENOUGH, LATE = 7.5, 0.5
"""Seconds that the checks have, and how much later one is given up that has not ended."""

Findings = Iterator[tuple[str, ...]]
"""Each check: its grade, and a sentence that says what to do; then the trap, if it is one."""


@click.command(cls=Command)
@click.option("--canary", is_flag=True, help="Write an account of our own to look at.")
@yes_option
def doctor(*, canary: bool, yes: bool) -> None:
    """Check settings, Redis, Vitally, Stripe, workers, histories and the counting.

    Problems come first. The exit status is 1 if there are any. What Vitally makes of
    revenue, currencies and dates shows in accounts that the bridge has written; before
    there are any, --canary writes one, looks, and deletes it, once you say so.

    \b
    Example:
      python -m bridge doctor
      python -m bridge doctor --canary
    """
    settings, config = configured()
    if canary and settings.bridge_dry_run:
        raise BridgeError("BRIDGE_DRY_RUN is true, and --canary would write to Vitally")
    if canary:
        words = f"{CANARY} is written to Vitally, and deleted again. Type its id"
        confirm(words, CANARY, yes=yes)
    seen = Evidence(settings, config)
    vitally = vitally_of(
        settings, deadline=PATIENCE, observe=seen.rates.append, after=seen.note_clock
    )
    found = _examine(seen, vitally, canary=canary)
    findings = sorted(found, key=lambda one: GRADES.index(one[0]))
    names = ("grade", "what", "trap")
    data = [dict(zip(names, finding, strict=False)) for finding in findings]
    show(data, lambda _: [f"{one['grade']:>4}  {one['what']}" for one in data])
    if bad := sum(grade == BAD for grade, *_ in findings):
        raise BridgeError(f"{count(bad, 'problem')} to fix: see BAD above")


def _examine(seen: Evidence, vitally: Vitally, *, canary: bool) -> Findings:
    settings = seen.settings
    yield GOOD, "the settings are complete"
    if settings.bridge_dry_run:
        yield DRY, f"nothing is written to Vitally: see `{program()} plan`"
    yield from _sources(settings)
    sources = switched_on(settings.sources)
    checks = {one.title: _key(one, settings) for one in sources}
    until, redis = time.monotonic() + ENOUGH, None
    try:
        redis = reached(settings, most=4)
        checks |= {"Redis": _redis(seen, redis), "the counting": _counting(redis)}
    except BridgeError as error:
        yield BAD, str(error)
    checks["Vitally"] = _vitally(seen, vitally, redis, canary=canary)
    checks["Stripe's endpoints"] = read_stripe(seen)
    yield from _side_by_side(checks, until)
    for trap in TRAPS:
        level, words = trap.judged(seen)
        if words:
            yield GRADE[level], words, trap.name


def _side_by_side(checks: Mapping[str, Findings], until: float) -> Findings:
    """Yield what each of the *checks* has found in time; none holds up the end."""
    found: dict[str, list[tuple[str, ...]]] = {name: [] for name in checks}

    def run(name: str) -> None:
        UNTIL.set(until)
        try:
            found[name].extend(checks[name])  # what it found before it failed stays
        except Exception as error:  # noqa: BLE001 - the other checks go on
            found[name].append((WARN, f"{name}: not checked ({type(error).__name__})"))

    threads = [Thread(target=run, args=(name,), daemon=True) for name in checks]
    for thread in threads:
        thread.start()
    for name, thread in zip(checks, threads, strict=True):
        thread.join(max(0.0, until + LATE - time.monotonic()))
        yield from [*found[name]]
        if thread.is_alive():
            yield WARN, f"{name} did not answer in time"


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


def _key(source: Source, settings: Settings) -> Findings:
    """Whether a source takes the key of its own API."""
    try:
        api = source.api(settings.sources)
        if api and api.probe():
            yield GOOD, f"{source.title} takes {source.key}"
    except SourceError as error:
        yield (BAD if error.refused else WARN), error.reason
    except ConfigError as error:
        if error.problems != (wrong_mode(settings.sources),):  # a trap tells of that
            yield BAD, str(error)


def _vitally(
    seen: Evidence, vitally: Vitally, redis: Redis | None, *, canary: bool
) -> Findings:
    base = seen.settings.vitally_base_url
    try:
        vitally.probe()
    except VitallyError as error:
        words = f"Vitally at {base}: {error.reason} ({error.status or 'no answer'})"
        if isinstance(error, VitallyUnavailableError):
            words += "; look at Vitally's status page, the address and the network"
        yield from () if note_error(seen, error) else [(BAD, words)]
        return
    yield GOOD, f"Vitally takes the key at {base}"
    for rate in seen.rates[-1:]:
        mine = int(rate.limit * seen.settings.vitally_budget_share)
        left = f"{rate.remaining} of {rate.limit} units left this minute"
        yield GOOD, f"{left}; the bridge uses up to {mine}"
    if not seen.rates:
        yield NOTE, "Vitally's reply says nothing of its rate limit"
    if canary:
        try:
            try_canary(seen, vitally)
            yield GOOD, f"{CANARY} was written, read and deleted"
        except VitallyError as error:
            grade = WARN if isinstance(error, VitallyUnavailableError) else BAD
            yield grade, f"{CANARY}: {error.reason}; see that none is left in Vitally"
    read_vitally(seen, vitally, redis)


def _redis(seen: Evidence, redis: Redis) -> Findings:
    settings = seen.settings
    read_redis(seen, redis)
    info = seen.redis
    names = ("redis_version", "used_memory_human")
    told = [info[name] for name in names if name in info]
    yield GOOD, " ".join(["Redis answers:", *told]) if told else "Redis answers"
    last = "the last seconds" if info.get("aof_enabled", 1) else SNAPSHOT
    waits = settings.bridge_durability == "fsync" and not unfit(redis)
    for source in switched_on(settings.sources):
        yield _protection(source, settings, last, waits)
    totals = figures(redis)
    yield from _running(redis, settings, totals)
    yield from _histories(redis, totals)


def _protection(
    source: Source, settings: Settings, last: str, waits: bool
) -> tuple[str, str]:
    """What becomes of the *last* that came from a source if the machine of Redis dies."""
    dies = f"if Redis' machine dies: {last} of {source.title}"
    if waits:
        return GOOD, f"{dies} stay, as a 2xx waits for the disk (BRIDGE_DURABILITY)"
    if source in listed(settings.sources):
        own = f"{dies} come again from its own list ({source.key})"
        return GOOD, "; ".join(filter(None, (own, source.unlisted(settings.sources))))
    key = f"{source.key} or " if source.archive else ""
    return NOTE, f"{dies} may be lost; set {key}BRIDGE_DURABILITY=fsync"


def _running(redis: Redis, settings: Settings, totals: Figures) -> Findings:
    """The lamps that are lit."""
    if heard := totals.heard:
        yield GOOD, f"{count(len(heard), 'worker')} heard: {', '.join(heard)}"
    grade = NOTE if totals.listed_at is None else GOOD
    yield grade, f"accounts others changed: {changed_by_others(totals)}"
    for title, words in complete(totals, settings).items():
        yield (NOTE if words.startswith("not") else GOOD), f"{title} is {words}"
    said = {"source_key", "redis_not_durable", settings.bridge_dry_run and "dry_run"}
    lit = lit_now(redis, settings, totals)
    yield from (graded(one) for one in lit if one.kind not in said)
    if totals.quarantine_deliveries or totals.quarantine_dropped:
        kept = f"in the quarantine: {in_quarantine(totals)}"
        yield NOTE, f"{kept}; see `{program()} quarantine list`"


def _histories(redis: Redis, totals: Figures) -> Findings:
    names = StateReader(redis).incomplete(NAMED)
    if not names:
        yield GOOD, "every customer was seen from its creation"
        return
    more = totals.incomplete - len(names)
    rest = f" and {more:,} more" if more > 0 else ""
    yield NOTE, f"incomplete histories: {', '.join(names)}{rest}"


def _counting(redis: Redis) -> Findings:
    """Compare the counters with a scan; while events come in the two may differ briefly."""
    if (many := Index(redis).count()) > MANY:
        long = f"to scan {many:,} accounts takes minutes"
        yield NOTE, f"the counting was not checked: {long}"
        return
    for _ in range(3):
        totals = figures(redis)
        parties = list(StateReader(redis).every_standing())
        after = figures(redis)
        same = ("workers", "oldest_ms", "now_ms")
        if totals == after._replace(**{name: getattr(totals, name) for name in same}):
            break
    else:
        yield NOTE, "events are coming in; the counting was not checked by a scan"
        return
    words = ("settled", "pending", "held", "parked")
    scanned = {word: sum(getattr(one, word) for one in parties) for word in words}
    scanned["settled"] += totals.forgotten
    scanned["accepted"] = sum(scanned.values())
    said = totals._asdict()
    wrong = {word: n for word, n in scanned.items() if said[word] != n}
    off = [f"{word}: counted {said[word]}, found {n}" for word, n in wrong.items()]
    inside = totals.accepted + totals.duplicate + totals.ignored + totals.quarantined
    if totals.received != inside:
        off.append(f"received: counted {totals.received}, its parts are {inside}")
    right = f"the counting is right: {count(totals.accepted, 'event')} accepted"
    yield (BAD, f"the counting is off: {'; '.join(off)}") if off else (GOOD, right)
