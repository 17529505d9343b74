"""`python -m bridge doctor`: looks at everything the bridge depends on, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import click
from redis import Redis

from bridge.cli import session
from bridge.cli.program import program
from bridge.errors import BridgeError, VitallyError
from bridge.settings import Settings
from bridge.sources import MADE, OBSERVED, every, switched_on, weak_secrets
from bridge.store.health import unfit
from bridge.store.inspect import Figures, Look, figures
from bridge.vitally.client import Vitally
from bridge.vitally.replies import Rate

GOOD, NOTE, BAD = "ok", "note", "BAD"

NAMED = 10
"""Incomplete histories that are named."""


class Finding(NamedTuple):
    """One thing looked at: how it is, and what to do about it."""

    grade: str
    what: str


@click.command()
def doctor() -> None:
    """Check settings, Redis, Vitally, workers, histories and the counting.

    Ends with 1 where something is wrong.

    \b
    Example:
      python -m bridge doctor
    """
    found, _config = session.settings()
    worst = 0
    for finding in _examine(found):
        session.say(f"{finding.grade:>4}  {finding.what}")
        worst += finding.grade == BAD
    if worst:
        raise BridgeError(f"{worst} of the findings above need a hand")


def _examine(found: Settings) -> Iterator[Finding]:
    yield Finding(GOOD, "the settings are complete")
    yield from _sources(found)
    yield from _vitally(found)
    try:
        client = session.redis(found)
    except BridgeError as error:
        yield Finding(BAD, str(error))
        return
    if found.bridge_durability == "fsync" and (why := unfit(client)):
        yield Finding(BAD, why)
    for look in (_redis, _running, _histories, _counting):
        yield from look(client)


def _sources(found: Settings) -> Iterator[Finding]:
    on = [source.title for source in switched_on(found.sources)]
    if on:
        yield Finding(GOOD, f"sources that are on: {', '.join(on)}")
    else:
        names = ", ".join(s.options[0].name for s in every(found.sources))
        yield Finding(BAD, f"no source is on; set one of {names}")
    for name in sorted(found.sources[OBSERVED]):
        kept = f"{program()} quarantine list"
        what = f"{name} is only observed: nothing it sends is taken in, see {kept}"
        yield Finding(NOTE, f"{what}; then take `observe` away, and replay")
    for weak in weak_secrets(found):
        yield Finding(NOTE, f"a weak secret: {weak}")
    for source in found.sources.get(MADE, {}).values():
        if not source.enabled(found.sources):
            unset = source.options[0].name
            yield Finding(NOTE, f"{source.name} is off: {unset} is not set")


def _vitally(found: Settings) -> Iterator[Finding]:
    rates: list[Rate] = []
    client = Vitally(
        found.vitally_base_url, found.vitally_authorization, observe=rates.append
    )
    try:
        client.probe()
    except VitallyError as error:
        where = found.vitally_base_url
        yield Finding(
            BAD, f"Vitally at {where}: {error.reason} ({error.status or '-'})"
        )
        return
    yield Finding(GOOD, f"Vitally takes the key at {found.vitally_base_url}")
    if rates:
        mine = int(rates[-1].limit * found.vitally_budget_share)
        left = f"{rates[-1].remaining} of {rates[-1].limit} units left this minute"
        yield Finding(GOOD, f"{left}; the bridge uses up to {mine}")
    else:
        yield Finding(NOTE, "Vitally's reply says nothing of its rate limit")


def _redis(client: Redis) -> Iterator[Finding]:
    info: dict[str, Any] = dict(client.info())
    yield Finding(GOOD, f"Redis {info.get('redis_version', '?')} answers")
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy in {"noeviction", "unknown"}:
        yield Finding(GOOD, f"maxmemory-policy is {policy}")
    else:
        fix = "CONFIG SET maxmemory-policy noeviction (on Heroku: redis:maxmemory)"
        yield Finding(BAD, f"maxmemory-policy is {policy}: accounts may vanish; {fix}")
    yield _persistence(info)
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if most and used > 0.8 * most:
        yield Finding(BAD, f"{used * 100 // most} % of maxmemory are used")
    else:
        yield Finding(GOOD, f"{used / 1e6:.1f} MB are used")


def _persistence(info: dict[str, Any]) -> Finding:
    if int(info.get("aof_enabled", 0)):
        if info.get("aof_last_write_status", "ok") != "ok":
            return Finding(BAD, "the last write of the append-only file failed")
        return Finding(GOOD, "the append-only file is on")
    fix = "appendonly yes loses at most a second (see deploy/redis.conf)"
    return Finding(
        NOTE, f"the append-only file is off: a restart may lose events; {fix}"
    )


def _running(client: Redis) -> Iterator[Finding]:
    now = figures(client)
    if now.heard:
        yield Finding(GOOD, f"{len(now.heard)} worker(s) heard: {', '.join(now.heard)}")
    else:
        yield Finding(BAD, "no worker heard for 15 s; start one: python -m workers")
    if now.breaker:
        yield Finding(BAD, f"all writes are stopped: {now.breaker}")
    if now.paused is not None:
        yield Finding(
            NOTE, f"all writes are paused by hand: {now.paused}; see `resume`"
        )
    if now.unread:
        yield Finding(
            BAD,
            f"{now.unread} objects were told of without content; set the API key of "
            f"their source, or choose snapshot events: {program()} held",
        )
    for count, what, command in (
        (now.held_parties, "parties are held", "held"),
        (now.parked_parties, "changes are parked", "parked"),
    ):
        if count:
            yield Finding(NOTE, f"{count} {what}: {program()} {command}")
    if now.quarantine_deliveries or now.quarantine_dropped:
        kept = f"in the quarantine: {now.quarantine}"
        yield Finding(NOTE, f"{kept}: {program()} quarantine list")


def _histories(client: Redis) -> Iterator[Finding]:
    names = Look(client).incomplete(NAMED)
    if not names:
        yield Finding(GOOD, "every customer was seen from its creation")
        return
    more = figures(client).incomplete - len(names)
    rest = f" and {more} more" if more > 0 else ""
    yield Finding(NOTE, f"incomplete histories: {', '.join(names)}{rest}")


def _counting(client: Redis) -> Iterator[Finding]:
    """Count again by scanning; while events come in the two may be a moment apart."""
    for _ in range(3):
        before = figures(client)
        seen = {"accepted": 0, "settled": 0, "pending": 0, "held": 0, "parked": 0}
        for one in Look(client).every_standing():
            seen["accepted"] += one.rev
            for word in ("settled", "pending", "held", "parked"):
                seen[word] += getattr(one, word)
        if before == figures(client)._replace(
            workers=before.workers, oldest_ms=before.oldest_ms
        ):
            yield from _sums(before, seen)
            return
    yield Finding(NOTE, "events are coming in; the counting was not checked by a scan")


def _sums(now: Figures, seen: dict[str, int]) -> Iterator[Finding]:
    off = [
        f"{word}: counted {getattr(now, word)}, found {found}"
        for word, found in seen.items()
        if getattr(now, word) != found
    ]
    inside = now.accepted + now.duplicate + now.ignored + now.quarantined
    if now.received != inside:
        off.append(f"received: counted {now.received}, its parts are {inside}")
    if off:
        yield Finding(BAD, f"the counting is off: {'; '.join(off)}")
    else:
        yield Finding(GOOD, f"the counting is right: {now.accepted} events accepted")
