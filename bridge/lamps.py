"""The bridge's lamps: which conditions somebody has to know of, and what to do first.

`lamps.toml` has a table for each condition; FIND says when it is so. `/readyz`,
`/metrics`, `status`, `doctor`, the alerts and the console all read them. A lamp is lit
from figures alone; nothing is asked here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Literal, NamedTuple

from redis import Redis

from bridge.settings import Settings
from bridge.sources import OBSERVED, every, listed, switched_on
from bridge.store.complete import Checkpoint
from bridge.store.health import DOWN, RedisHealth, Watch
from bridge.store.inspect import Figures
from bridge.wording import SCRIPT, ago, count, moment, program

Level = Literal["bad", "warn", "note"]
"""Not ready; something is wrong, but events are taken; something to know."""

LATE_MS = 15 * 60_000
"""How long a change may wait beyond the time that all that waits takes to be written."""

BEHIND_MS = 15 * 60_000
"""How far a source's comparison with its own list may be behind."""

SCARCE_MS = 15 * 60_000
"""How long somebody should know that others have used up Vitally's limit."""

CROWDED = 0.8
"""The share of Redis' `maxmemory` above which somebody should make room."""

FORGED = 5
"""From this many deliveries within ten minutes on, somebody should look at the secret."""

FORGERY = {
    "mismatch": "a wrong signature: is {} that of this endpoint?",
    "stale": "a wrong time, guarded by {}: is this machine's clock right?",
    "unknown_source": "no source to take them: set {}, or stop sending them.",
}
"""Why a delivery was refused -> what it had, with the variable of the source's secret."""


class Situation(NamedTuple):
    """What the lamps are lit from."""

    figures: Figures
    settings: Settings
    redis: RedisHealth


class Lamp(NamedTuple):
    """A condition that is so now: *text* is a sentence, *hint* the first thing to do.

    *since_ms* is when it began, on Redis' clock; None: not known.
    """

    kind: str
    level: Level
    text: str
    since_ms: int | None
    hint: str


class Condition(NamedTuple):
    """A table of `lamps.toml`; *meaning* says it in general, for the documentation."""

    kind: str
    level: Level
    text: str
    meaning: str
    hint: str
    after_s: float = 0.0
    figure: str = ""
    page: str = ""

    def found(self, state: Situation) -> str | None:
        """What belongs into the text while it is so; None: it is not."""
        if not self.figure:
            return FIND[self.kind](state)
        return _some(getattr(state.figures, self.figure))

    @property
    def advice(self) -> str:
        """The hint, with our commands as one types them here."""
        return self.hint.replace(SCRIPT, program())

    def lamp(self, found: str, since_ms: int | None = None) -> Lamp:
        """The lamp, lit by what was *found*."""
        if self.text.endswith("."):
            found = found.removesuffix(".")  # as most of Vitally's own reasons end
        text = self.text.format(found)
        return Lamp(self.kind, self.level, text, since_ms, self.advice)


TABLE = tomllib.loads(files(__package__).joinpath("lamps.toml").read_text("utf-8"))
CONDITIONS = tuple(Condition(kind, **row) for kind, row in TABLE.items())
REDIS = CONDITIONS[0]

CHOSEN = frozenset({"dry_run", "paused"})
"""Notes that somebody chose and should not forget; `/readyz` tells these of the notes."""


def _some(number: int) -> str | None:
    return f"{number:,}" if number else None


def _if(is_so: bool) -> str | None:
    return "" if is_so else None


def _stopped(state: Situation, by_key: bool) -> str | None:
    why = state.figures.breaker
    return why if why is not None and ("key" in why) == by_key else None


def _failing(state: Situation) -> str | None:
    if (failing := state.figures.failing) is None:
        return None
    now, next_ = state.figures.now_ms, failing.next
    tried = f"the next try in {ago(next_ - now)}" if next_ > now else "tried again now"
    return f"for {ago(now - failing.since)}: {failing.reason}; {tried}"


def _scarce(state: Situation) -> str | None:
    at, now = state.figures.scarce_at, state.figures.now_ms
    return ago(now - at) if at and now - at < SCARCE_MS else None


def _late(state: Situation) -> str | None:
    seen, share = state.figures, state.settings.vitally_budget_share
    is_stopped = (seen.paused, seen.breaker) != (None, None)
    is_told = seen.dry_run or seen.failing or is_stopped
    usual = LATE_MS + 1000 * seen.drained_in(share)
    if is_told or seen.oldest_ms is None or seen.oldest_ms < usual:
        return None
    return str(seen.oldest_ms // 60_000)


def _forged(state: Situation) -> str | None:
    """What is wrong with each source's deliveries, and which variable to look at."""
    secrets = {one.name: one.secret for one in every(state.settings.sources)}
    found = []
    for name, now in sorted(state.figures.refused_now.items()):
        source, _, reason = name.partition(":")
        if now >= FORGED and reason in FORGERY and source in secrets:
            number = state.figures.refused_lately[name]
            words = FORGERY[reason].format(secrets[source])
            found.append(f"{number:,} deliveries in the last hour had {words}")
    return " ".join(found) or None


def _objects(state: Situation) -> str | None:
    late = state.figures.objects_late
    of_some = f"those of {count(late, 'account')}, sent several times" if late else None
    return state.figures.objects_failing or of_some


def compared(figures: Figures, settings: Settings) -> dict[str, tuple[str, Checkpoint]]:
    """Each source whose own list is read and compared: its title, how far it came."""
    return {
        source.name: (source.title, figures.complete[source.name])
        for source in listed(settings.sources)
        if source.name in figures.complete
    }


def _gap(state: Situation) -> str | None:
    """What never came, by source, and was taken in a short while ago."""
    missed = [
        f"{name} {point.missing:,} ({', '.join(point.types)}), the last at "
        f"{moment(point.gap_at)} UTC"
        for name, (_, point) in compared(state.figures, state.settings).items()
        if point.is_news(state.figures.now_ms)
    ]
    return "; ".join(missed) or None


def _incomplete(state: Situation) -> str | None:
    """The sources whose own list could not be read for a while."""
    now = state.figures.now_ms
    late = [
        f"{title} only up to {moment(point.up_to)} UTC"
        + (f" ({point.reason})" if point.reason else "")
        for title, point in compared(state.figures, state.settings).values()
        if now - point.up_to > BEHIND_MS
    ]
    return "; ".join(late) or None


def _emptied(state: Situation) -> str | None:
    """When Redis came back empty, until each source that can be read was read whole."""
    known, at = state.figures.backfilled, state.figures.emptied
    if not at:
        return None
    read = [known.get(s.name, 0) >= at for s in listed(state.settings.sources)]
    return None if read and all(read) else moment(at)


def complete(figures: Figures, settings: Settings) -> dict[str, str]:
    """Source that has a list of its own -> up to when it is known that all has come."""
    known, said = compared(figures, settings), {}
    for title, point in known.values():
        more = ""
        if point.missing:
            more = f"; {point.missing:,} were missing at {moment(point.gap_at)} UTC"
        since = f"from {moment(point.first)} on"
        said[title] = f"complete up to {moment(point.up_to)} UTC, {since}{more}"
    for source in switched_on(settings.sources):
        if source.archive and source.name not in known:
            has_key = settings.sources.get(source.key)
            why = "not yet" if has_key else f"{source.key} is not set"
            if source.name in settings.sources.get(OBSERVED, ()):
                why = "it is only observed"
            said[source.title] = f"not compared with its own list: {why}"
        elif left_out := source.unlisted(settings.sources):
            said[source.title] += f"; {left_out}"
    return said


FIND: Mapping[str, Callable[[Situation], str | None]] = {
    "no_worker": lambda state: _if(not state.figures.heard),
    "key_refused": lambda state: _stopped(state, by_key=True),
    "wrong_address": lambda state: _stopped(state, by_key=False),
    "dry_run": lambda state: _if(state.figures.dry_run),
    "paused": lambda state: state.figures.paused,
    "vitally_failing": _failing,
    "limit_shared": _scarce,
    "settings": lambda state: " ".join(state.settings.doubts) or None,
    "late": _late,
    "parked": lambda state: _some(
        state.figures.parked_parties - state.figures.mass_parties
    ),
    "wrong_signatures": _forged,
    "source_key": lambda state: "; ".join(state.figures.keys_refused.values()) or None,
    "gap": _gap,
    "objects": _objects,
    "completeness": _incomplete,
    "redis_memory": lambda state: (
        f"{state.redis.memory:.0%}" if state.redis.memory > CROWDED else None
    ),
    "redis_emptied": _emptied,
    "redis_not_durable": lambda state: _if(not state.redis.appends),
}
"""Kind -> what it finds, of those that are not a figure alone."""


def lamps(
    figures: Figures | None, redis: RedisHealth, settings: Settings
) -> list[Lamp]:
    """Return the lamps that are lit; without *figures* (Redis is down) only Redis'."""
    lit = [REDIS.lamp(text) for text in (*redis.refusals, *redis.worries)]
    if figures is None:
        return lit if redis.refusals else [*lit, REDIS.lamp(DOWN)]
    state = Situation(figures, settings, redis)
    since = {
        "vitally_failing": figures.failing and figures.failing.since,
        "late": figures.oldest_ms and figures.now_ms - figures.oldest_ms,
    }
    found = ((row, row.found(state)) for row in CONDITIONS[1:])
    return [*lit, *(r.lamp(f, since.get(r.kind)) for r, f in found if f is not None)]


def lit_now(redis: Redis, settings: Settings, figures: Figures) -> list[Lamp]:
    """The lamps that are lit by these *figures* of a Redis that answers, and its check."""
    watch = Watch.of(redis, settings)
    health = watch.check()
    watch.stop()
    return lamps(figures, health, settings)
