"""The bridge's lamps: which conditions somebody has to know of, and what to do first.

One table, CONDITIONS, is what `/readyz`, `/metrics`, `status`, `doctor`, the alerts and
the console all read. A lamp is lit from figures alone; nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from redis import Redis

from bridge.settings import Settings
from bridge.sources import every
from bridge.store.health import DOWN, View, Watch
from bridge.store.inspect import Figures
from bridge.store.inspect import figures as read
from bridge.wording import ago

Level = Literal["bad", "warn", "note"]
"""Not ready; something is wrong, but events are taken; something to know."""

LATE_MS = 15 * 60_000
"""How long a change may wait beyond the time that all that waits takes to be written."""

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


class State(NamedTuple):
    """What the lamps are lit from."""

    figures: Figures
    settings: Settings
    redis: View


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
    """A row of the table. *find* returns the sentence while it is so, else "".

    *meaning* says it in general, for the documentation. An alert is sent once it has
    lasted for *after_s* seconds.
    """

    kind: str
    level: Level
    find: Callable[[State], str]
    meaning: str
    hint: str
    after_s: float = 0.0
    since: Callable[[Figures], int | None] = lambda _: None


def _stopped(state: State, by_key: bool) -> str:
    why = state.figures.breaker
    if why is None or ("key" in why) != by_key:
        return ""
    return f"All writes have stopped: {why}."


def _failing(state: State) -> str:
    if (failing := state.figures.failing) is None:
        return ""
    now, since, next_ = state.figures.now_ms, failing.since, failing.next
    tried = f"tried again in {ago(next_ - now)}" if next_ > now else "tried again now"
    return f"Vitally fails for {ago(now - since)}: {failing.reason}; {tried}."


def _late(state: State) -> str:
    seen, share = state.figures, state.settings.vitally_budget_share
    is_told = seen.dry_run or seen.failing or seen.paused is not None
    usual = LATE_MS + 1000 * seen.drained_in(share)
    if seen.oldest_ms is None or is_told or seen.breaker is not None:
        return ""
    if seen.oldest_ms < usual:
        return ""
    return f"The oldest change has been waiting for {seen.oldest_ms // 60_000} min."


def _forged(state: State) -> str:
    """What is wrong with each source's deliveries, and which variable to look at."""
    secrets = {one.name: one.secret for one in every(state.settings.sources)}
    found = []
    for name, now in sorted(state.figures.refused_now.items()):
        source, _, reason = name.partition(":")
        if now >= FORGED and reason in FORGERY and source in secrets:
            number = state.figures.refused_lately[name]
            words = FORGERY[reason].format(secrets[source])
            found.append(f"{number:,} deliveries in the last hour had {words}")
    return " ".join(found)


def _when(number: int, sentence: str) -> str:
    """The *sentence* with the *number* in it; "" where that is 0."""
    return sentence.format(f"{number:,}") if number else ""


REDIS = Condition(
    "redis",
    "bad",
    lambda state: " ".join(state.redis.refusals),
    "Redis is down, read-only, full, or may evict keys: deliveries are answered 503.",
    "Look at Redis and REDIS_URL. Senders repeat what was answered 503.",
    3.0,
)

CONDITIONS = (
    REDIS,
    Condition(
        "no_worker",
        "bad",
        lambda state: (
            "" if state.figures.heard else "No worker has been heard from for 15 s."
        ),
        "No worker runs: events are taken and wait.",
        "Start a worker: python -m workers.",
        15.0,
    ),
    Condition(
        "key_refused",
        "bad",
        lambda state: _stopped(state, by_key=True),
        "Vitally refuses the API key: all writes wait.",
        "Check VITALLY_API_KEY in Vitally. Writes resume by themselves.",
    ),
    Condition(
        "wrong_address",
        "bad",
        lambda state: _stopped(state, by_key=False),
        "Vitally answers 404 to everything: all writes wait.",
        "Check VITALLY_SUBDOMAIN, VITALLY_REGION and VITALLY_BASE_URL.",
    ),
    Condition(
        "dry_run",
        "note",
        lambda state: (
            "This is a dry run (BRIDGE_DRY_RUN): nothing is written to Vitally."
            if state.figures.dry_run
            else ""
        ),
        "BRIDGE_DRY_RUN is set: nothing is written.",
        "See what would be written: vitally-bridge plan.",
    ),
    Condition(
        "paused",
        "note",
        lambda state: (
            ""
            if state.figures.paused is None
            else f"All writes are paused by hand: {state.figures.paused}."
        ),
        "Somebody paused all writes.",
        "To go on: vitally-bridge resume.",
    ),
    Condition(
        "vitally_failing",
        "warn",
        _failing,
        "Vitally is unreachable or answers with errors: writes are repeated.",
        "Look at Vitally's status page. Nothing is lost; writes are repeated for 3 days.",
        20.0,
        lambda seen: seen.failing.since if seen.failing else None,
    ),
    Condition(
        "settings",
        "note",
        lambda state: " ".join(state.settings.doubts),
        "A setting looks like a mistake, or one is missing.",
        "Correct the environment variable, and restart.",
    ),
    Condition(
        "late",
        "warn",
        _late,
        "A change has been waiting too long.",
        "See what waits and why: vitally-bridge status.",
        since=lambda seen: seen.now_ms - (seen.oldest_ms or 0),
    ),
    Condition(
        "mass_change",
        "warn",
        lambda state: _when(
            state.figures.mass_parties, "Changes held as a mass change, for a word: {}."
        ),
        "More accounts would churn, or more MRR would move, than in a usual hour.",
        "Look at it: vitally-bridge mass; then release, or discard --mass.",
    ),
    Condition(
        "parked",
        "warn",
        lambda state: _when(
            state.figures.parked_parties - state.figures.mass_parties,
            "Changes that could not be written: {}.",
        ),
        "Vitally refuses a change for a reason that time does not cure.",
        "See the reasons: vitally-bridge parked.",
    ),
    Condition(
        "quarantine",
        "warn",
        lambda state: _when(
            state.figures.quarantined_lately,
            "Deliveries that could not be read in the last hour: {}.",
        ),
        "Authentic deliveries cannot be read and are kept.",
        "See them: vitally-bridge quarantine list.",
    ),
    Condition(
        "wrong_signatures",
        "warn",
        _forged,
        f"At least {FORGED} deliveries of a source had a wrong signature or password.",
        "Compare the source's secret with the endpoint's own at the sender.",
    ),
    Condition(
        "source_key",
        "warn",
        lambda state: " ".join(f"{r}." for r in state.figures.keys_refused.values()),
        "A source refuses the key of its API, or some of what is read with it.",
        "Give the key its permissions, or replace it. Events are taken without it.",
    ),
    Condition(
        "gap",
        "warn",
        lambda state: _when(
            sum(state.figures.gaps.values()), "Events of a source that never came: {}."
        ),
        "`gaps --dry-run` found events of a source that never came.",
        "Take them in: vitally-bridge gaps stripe.",
    ),
    Condition(
        "unread",
        "warn",
        lambda state: _when(
            state.figures.unread,
            "Objects that came without content, and no API key to read them: {}.",
        ),
        "Events came without content, and their source's API key is not set.",
        "Set the source's API key, or choose snapshot events; see vitally-bridge held.",
    ),
    Condition(
        "drift",
        "warn",
        lambda state: _when(
            state.figures.drift,
            "Accounts that others have changed or deleted in Vitally: {}.",
        ),
        "Somebody else has changed in Vitally what the bridge wrote.",
        "See what, and correct it: vitally-bridge reconcile --fix.",
    ),
    Condition(
        "redis_memory",
        "warn",
        lambda state: (
            f"Redis uses {state.redis.memory:.0%} of its memory."
            if state.redis.memory > CROWDED
            else ""
        ),
        f"Redis uses more than {CROWDED:.0%} of its `maxmemory`.",
        "Give Redis more memory before deliveries are refused.",
        30.0,
    ),
    Condition(
        "redis_not_durable",
        "note",
        lambda state: (
            ""
            if state.redis.appends
            else "Redis' append-only file is off: a restart may lose events."
        ),
        "Redis has no append-only file.",
        "Set appendonly yes (see deploy/redis.conf).",
    ),
    Condition(
        "held",
        "note",
        lambda state: _when(
            state.figures.held_parties, "Parties held, their account not known: {}."
        ),
        "Customers whose account is not known.",
        "See the reasons, and link them: vitally-bridge held.",
    ),
)
"""Every condition, in the order in which lamps are shown."""

CHOSEN = frozenset({"dry_run", "paused"})
"""Notes that somebody chose and should not forget; `/readyz` tells these of the notes."""


def lamps(figures: Figures | None, redis: View, settings: Settings) -> list[Lamp]:
    """Return the lamps that are lit; without *figures* (Redis is down) only Redis'."""
    lit = [_lamp(REDIS, text) for text in (*redis.refusals, *redis.worries)]
    if figures is None:
        return lit if DOWN in redis.refusals else [*lit, _lamp(REDIS, DOWN)]
    state = State(figures, settings, redis)
    found = ((row, row.find(state)) for row in CONDITIONS if row is not REDIS)
    return [*lit, *(_lamp(row, text, figures) for row, text in found if text)]


def look(redis: Redis, settings: Settings) -> list[Lamp]:
    """Check a Redis that answers and read its figures. Raises redis' own errors."""
    watch = Watch.of(redis, settings)
    watch.look()
    watch.stop()
    return lamps(read(redis), watch.view(), settings)


def _lamp(row: Condition, text: str, figures: Figures | None = None) -> Lamp:
    since = row.since(figures) if figures else None
    return Lamp(row.kind, row.level, text, since, row.hint)
