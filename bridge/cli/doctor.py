"""`python -m bridge doctor`: looks at all that the bridge depends on, the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from redis import Redis

from bridge.cli.operate import in_quarantine
from bridge.cli.output import as_json, count, show
from bridge.cli.session import configured, program, reached
from bridge.errors import BridgeError, VitallyError
from bridge.settings import Settings
from bridge.sources import MADE, OBSERVED, every, switched_on, weak_secrets
from bridge.store.health import unfit
from bridge.store.inspect import Figures, Look, figures
from bridge.vitally.client import Vitally
from bridge.vitally.replies import Rate

BAD, NOTE, GOOD = GRADES = ("BAD", "note", "ok")
"""What has to be mended; what one should know; what is well."""

NAMED = 10
"""Incomplete histories that are named."""

Findings = Iterator[tuple[str, str]]
"""What was looked at: its grade, and how it is with what to do about it."""


@click.command()
@as_json
def doctor(*, as_json: bool) -> None:
    """Check settings, Redis, Vitally, workers, histories and the counting.

    What is wrong comes first. Ends with 1 where something is.

    \b
    Example:
      python -m bridge doctor
    """
    found = sorted(_examine(configured()[0]), key=lambda one: GRADES.index(one[0]))
    data = [{"grade": grade, "what": what} for grade, what in found]
    lines = [f"{grade:>4}  {what}" for grade, what in found]
    show(data, lambda _: lines, as_json=as_json)
    if bad := sum(grade == BAD for grade, _ in found):
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
    for look in (_redis, _running, _histories, _counting):
        yield from look(redis)


def _sources(settings: Settings) -> Findings:
    values = settings.sources
    if on := [source.title for source in switched_on(values)]:
        yield GOOD, f"sources that are on: {', '.join(on)}"
    else:
        names = ", ".join(source.options[0].name for source in every(values))
        yield BAD, f"no source is on; set one of {names}"
    for name in sorted(values[OBSERVED]):
        what = f"{name} is only observed, and nothing it sends is taken in"
        yield (
            NOTE,
            f"{what}: see `{program()} quarantine list`; to end it, take the line away",
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
    if not rates:
        yield NOTE, "Vitally's reply says nothing of its rate limit"
        return
    rate, mine = rates[-1], int(rates[-1].limit * settings.vitally_budget_share)
    left = f"{rate.remaining} of {rate.limit} units left this minute"
    yield GOOD, f"{left}; the bridge uses up to {mine}"


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


def _running(redis: Redis) -> Findings:
    now, here = figures(redis), program()
    if now.heard:
        yield GOOD, f"{count(len(now.heard), 'worker')} heard: {', '.join(now.heard)}"
    else:
        yield BAD, "no worker heard for 15 s; start one: python -m workers"
    if now.breaker:
        yield BAD, f"all writes are stopped: {now.breaker}"
    if now.paused is not None:
        yield NOTE, f"all writes are paused by hand: {now.paused}; see `{here} resume`"
    if now.unread:
        what = f"{count(now.unread, 'object')} came without content; set the API key of"
        yield BAD, f"{what} their source, or choose snapshot events: {here} held"
    if now.held_parties:
        parties = count(now.held_parties, "party is", "parties are")
        yield NOTE, f"{parties} held: {here} held"
    if now.parked_parties:
        changes = count(now.parked_parties, "change is", "changes are")
        yield NOTE, f"{changes} parked: {here} parked"
    if now.quarantine_deliveries or now.quarantine_dropped:
        kept = f"in the quarantine: {in_quarantine(now)}"
        yield NOTE, f"{kept}; see `{here} quarantine list`"


def _histories(redis: Redis) -> Findings:
    names = Look(redis).incomplete(NAMED)
    if not names:
        yield GOOD, "every customer was seen from its creation"
        return
    more = figures(redis).incomplete - len(names)
    rest = f" and {more:,} more" if more > 0 else ""
    yield NOTE, f"incomplete histories: {', '.join(names)}{rest}"


def _counting(redis: Redis) -> Findings:
    """Count again by scanning; while events come in the two may be a moment apart."""
    for _ in range(3):
        before = figures(redis)
        seen = dict.fromkeys(("accepted", "settled", "pending", "held", "parked"), 0)
        for one in Look(redis).every_standing():
            seen["accepted"] += one.rev
            for word in ("settled", "pending", "held", "parked"):
                seen[word] += getattr(one, word)
        after = figures(redis)
        if before == after._replace(workers=before.workers, oldest_ms=before.oldest_ms):
            yield _sums(before, seen)
            return
    yield NOTE, "events are coming in; the counting was not checked by a scan"


def _sums(now: Figures, seen: dict[str, int]) -> tuple[str, str]:
    off = [
        f"{word}: counted {getattr(now, word)}, found {found}"
        for word, found in seen.items()
        if getattr(now, word) != found
    ]
    inside = now.accepted + now.duplicate + now.ignored + now.quarantined
    if now.received != inside:
        off.append(f"received: counted {now.received}, its parts are {inside}")
    if off:
        return BAD, f"the counting is off: {'; '.join(off)}"
    return GOOD, f"the counting is right: {count(now.accepted, 'event')} accepted"
