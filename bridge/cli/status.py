"""How the bridge stands: `status` counts its events, `doctor` looks for what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from redis import Redis

from bridge.cli import Command, configured, opened, program, reached
from bridge.cli.output import ago, as_json, count, show, table
from bridge.errors import BridgeError, VitallyError
from bridge.settings import Settings
from bridge.sources import MADE, OBSERVED, every, switched_on, weak_secrets
from bridge.store.health import unfit
from bridge.store.inspect import Figures, Look, figures
from bridge.vitally.client import Vitally
from bridge.vitally.replies import Rate

SUMS = (
    ("received", "= accepted + duplicate + ignored + quarantined"),
    ("  accepted", "= settled + pending + held + parked"),
    ("    settled", "in Vitally, or nothing to write{discarded}"),
    ("    pending", "on its way"),
    ("    held", "account not known: {program} held"),
    ("    parked", "could not be written: {program} parked"),
    ("  duplicate", "seen before"),
    ("  ignored", "no effect on an account"),
    ("  quarantined", "not read: {program} quarantine list"),
)
"""Figure, below the one that it is a part of -> what it means."""

BAD, NOTE, GOOD = GRADES = ("BAD", "note", "ok")
"""What has to be mended; what one should know; what is well."""

NAMED = 10
"""Incomplete histories that are named."""

Findings = Iterator[tuple[str, str]]
"""Each thing that was looked at: its grade, and a sentence with what to do about it."""


@click.command(cls=Command)
@as_json
def status() -> None:
    """Show what became of all events, and when all that waits will be written.

    \b
    Example:
      python -m bridge status
    """
    session = opened()
    now = figures(session.redis)
    seconds = now.drained_in(session.settings.vitally_budget_share)
    data = now._asdict() | {"drain_seconds": round(seconds)}
    show(data, lambda _: _in_words(now, seconds))


def _in_words(now: Figures, seconds: float) -> list[str]:
    discarded = f"; {now.discarded} discarded" if now.discarded else ""
    names = {"program": program(), "discarded": discarded}
    sums = (
        (name, getattr(now, name.strip()), meaning.format_map(names))
        for name, meaning in SUMS
    )
    paused = "running" if now.paused is None else f"PAUSED by hand: {now.paused}"
    rest = {
        "oldest unsettled": "none" if now.oldest_ms is None else ago(now.oldest_ms),
        "to be written": to_write(now, seconds),
        "jobs waiting": now.waiting,
        "requests to Vitally": f"{now.writes} made, {now.saved} jobs needed none",
        "workers": ", ".join(now.heard) or "none heard for 15 s: is a worker running?",
        "writes": f"STOPPED: {now.breaker}" if now.breaker else paused,
        "incomplete histories": now.incomplete,
        "accounts with unknown traits": now.unknown,
        "objects to be read, but no API key": now.unread,
        "in the quarantine": _in_quarantine(now),
    }
    return [*table((), sums), "", *table((), rest.items())]


def to_write(now: Figures, seconds: float) -> str:
    """Say how much waits, and how long it takes."""
    if not now.dirty:
        return "nothing"
    parties, about = (
        count(now.dirty, "party", "parties"),
        f"about {ago(seconds * 1000)}",
    )
    if now.breaker or now.paused is not None:
        return f"{parties}, {about} once writes go on"
    return f"{parties}, drained in {about}"


def _in_quarantine(now: Figures) -> str:
    events = count(now.quarantined, "event")
    deliveries = count(now.quarantine_deliveries, "delivery", "deliveries")
    dropped = count(now.quarantine_dropped, "delivery was", "deliveries were")
    more = f"; {dropped} dropped" if now.quarantine_dropped else ""
    return f"{events} in {deliveries}, {now.quarantine_bytes:,} bytes{more}"


@click.command(cls=Command)
@as_json
def doctor() -> None:
    """Check settings, Redis, Vitally, workers, histories and the counting.

    What is wrong comes first. Ends with 1 where something is.

    \b
    Example:
      python -m bridge doctor
    """
    findings = sorted(_examine(configured()[0]), key=lambda one: GRADES.index(one[0]))
    data = [{"grade": grade, "what": what} for grade, what in findings]
    lines = [f"{grade:>4}  {what}" for grade, what in findings]
    show(data, lambda _: lines)
    if bad := sum(grade == BAD for grade, _ in findings):
        raise BridgeError(f"{count(bad, 'thing')} to mend: see BAD above")


def _examine(settings: Settings) -> Findings:
    yield GOOD, "the settings are complete"
    yield from _sources(settings)
    yield from _vitally(settings)
    try:
        redis = reached(settings)
    except BridgeError as error:
        yield BAD, str(error)
        return
    if settings.bridge_durability == "fsync" and (why := unfit(redis)):
        yield BAD, why
    yield from _redis(redis)
    yield from _running(figures(redis))
    yield from _histories(redis)
    yield _counting(redis)


def _sources(settings: Settings) -> Findings:
    values = settings.sources
    if on := [source.title for source in switched_on(values)]:
        yield GOOD, f"sources that are on: {', '.join(on)}"
    else:
        names = ", ".join(source.options[0].name for source in every(values))
        yield BAD, f"no source is on; set one of {names}"
    listed = f"see `{program()} quarantine list`; to end it, take the line away"
    for name in sorted(values[OBSERVED]):
        yield (
            NOTE,
            f"{name} is only observed, and nothing it sends is taken in: {listed}",
        )
    for weak in weak_secrets(settings):
        yield NOTE, f"a weak secret: {weak}"
    for source in values.get(MADE, {}).values():
        if not source.enabled(values):
            yield NOTE, f"{source.name} is off: {source.options[0].name} is not set"


def _vitally(settings: Settings) -> Findings:
    rates: list[Rate] = []
    base, key = settings.vitally_base_url, settings.vitally_authorization
    try:
        Vitally(base, key, observe=rates.append).probe()
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


def _redis(redis: Redis) -> Findings:
    info: dict[str, Any] = dict(redis.info())
    yield GOOD, f"Redis {info.get('redis_version', '?')} answers"
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy in {"noeviction", "unknown"}:
        yield GOOD, f"maxmemory-policy is {policy}"
    else:
        fix = "CONFIG SET maxmemory-policy noeviction (on Heroku: redis:maxmemory)"
        yield BAD, f"maxmemory-policy is {policy}, so that accounts may vanish: {fix}"
    if not int(info.get("aof_enabled", 0)):
        fix = "appendonly yes loses at most a second (see deploy/redis.conf)"
        yield NOTE, f"the append-only file is off: a restart may lose events; {fix}"
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield BAD, "the last write of the append-only file failed: is the disk full?"
    else:
        yield GOOD, "the append-only file is on"
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if most and used > 0.8 * most:
        yield BAD, f"{used * 100 // most} % of Redis' maxmemory are used; give it more"
    else:
        yield GOOD, f"{used / 1e6:.1f} MB are used"


def _running(now: Figures) -> Findings:
    bridge = program()
    if now.heard:
        yield GOOD, f"{count(len(now.heard), 'worker')} heard: {', '.join(now.heard)}"
    else:
        yield BAD, "no worker heard for 15 s; start one: python -m workers"
    if now.breaker:
        yield BAD, f"all writes are stopped: {now.breaker}"
    if now.paused is not None:
        yield (
            NOTE,
            f"all writes are paused by hand: {now.paused}; see `{bridge} resume`",
        )
    if now.unread:
        what = f"{count(now.unread, 'object')} came without content; set the API key of"
        yield BAD, f"{what} their source, or choose snapshot events: {bridge} held"
    if now.held_parties:
        parties = count(now.held_parties, "party is", "parties are")
        yield NOTE, f"{parties} held: {bridge} held"
    if now.parked_parties:
        changes = count(now.parked_parties, "change is", "changes are")
        yield NOTE, f"{changes} parked: {bridge} parked"
    if now.quarantine_deliveries or now.quarantine_dropped:
        kept = f"in the quarantine: {_in_quarantine(now)}"
        yield NOTE, f"{kept}; see `{bridge} quarantine list`"


def _histories(redis: Redis) -> Findings:
    names = Look(redis).incomplete(NAMED)
    if not names:
        yield GOOD, "every customer was seen from its creation"
        return
    more = figures(redis).incomplete - len(names)
    rest = f" and {more:,} more" if more > 0 else ""
    yield NOTE, f"incomplete histories: {', '.join(names)}{rest}"


def _counting(redis: Redis) -> tuple[str, str]:
    """Count again by scanning; while events come in the two may be a moment apart."""
    for _ in range(3):
        now = figures(redis)
        parties = list(Look(redis).every_standing())
        after = figures(redis)
        if now == after._replace(workers=now.workers, oldest_ms=now.oldest_ms):
            break
    else:
        return NOTE, "events are coming in; the counting was not checked by a scan"
    words = ("settled", "pending", "held", "parked")
    scanned = {word: sum(getattr(one, word) for one in parties) for word in words}
    scanned = {"accepted": sum(one.rev for one in parties), **scanned}
    off = [
        f"{word}: counted {getattr(now, word)}, found {number}"
        for word, number in scanned.items()
        if getattr(now, word) != number
    ]
    inside = now.accepted + now.duplicate + now.ignored + now.quarantined
    if now.received != inside:
        off.append(f"received: counted {now.received}, its parts are {inside}")
    if off:
        return BAD, f"the counting is off: {'; '.join(off)}"
    return GOOD, f"the counting is right: {count(now.accepted, 'event')} accepted"
