"""Reads the state without changing it: figures of the bridge, parties, accounts."""

from __future__ import annotations

import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import islice
from typing import Any, NamedTuple

import orjson
from redis import Redis

from bridge.domain.account import Party
from bridge.domain.document import Ledger
from bridge.domain.facts import PartyName, organization_id
from bridge.store import keys
from bridge.store.complete import Checkpoint, checkpoints
from bridge.store.connect import Store, batches, each, named
from bridge.store.index import Index
from bridge.store.lease import Leases, read_ledger, used
from bridge.store.objects import Objects, Sent
from bridge.store.view import Catalogues, Member

LIMIT = 1000
"""Vitally's units per minute, until its replies say otherwise."""

COST = 10
"""Assumed units per write, until a reply has shown the cost."""


def drained_in(writes: int, units: float, cost: float) -> float:
    """Seconds that *writes* take at *units* a minute, where each costs *cost* of them.

    At least one a minute, as the throttle allows; it leaves a twentieth to what is
    urgent. What was saved up in the minute before makes it up to a minute less.
    """
    most = max(1, units // cost)
    return 60 * writes / (most - most // 20)


SILENCE_MS = 15_000
"""A worker that was not heard from for this long counts as gone."""

PREFIX = "vitally_bridge_"
"""How the name of each metric begins."""

TABLE = tomllib.loads(files(__package__).joinpath("metrics.toml").read_text("utf-8"))


class Metric(NamedTuple):
    """What `/metrics` shows of a *figure*; *kind* is `counter` or `gauge`.

    With *labels* it has several values.
    """

    figure: str
    kind: str
    meaning: str
    labels: Sequence[str] = ()
    name: str = ""

    @property
    def full_name(self) -> str:
        """Its name in Prometheus."""
        end = "_total" if self.kind == "counter" else ""
        return f"{PREFIX}{self.name or self.figure}{end}"


METRICS = [
    Metric(figure, kind, **row) for kind in TABLE for figure, row in TABLE[kind].items()
]
"""All metrics but the histograms, which `bridge.store.durations` has."""


class Failing(NamedTuple):
    """Why Vitally does not take writes; since when, the last try and the next (ms)."""

    reason: str
    since: int
    at: int
    next: int


class Figures(NamedTuple):
    """The bridge's figures; the scripts count them, per event and party.

    received = accepted + duplicate + ignored + quarantined
    accepted = settled + pending + held + parked

    - Work: *writes* are requests to Vitally, *saved* jobs that needed none. *discarded*
      events were settled without a write; of *forgotten* ones nothing else is known.
      *waiting* are jobs; all other plain numbers without "events" are parties or accounts.
    - Time, in milliseconds: *oldest_ms* is the age of the oldest unsettled event,
      *workers* maps each worker to the time since it was last heard, *listed_at* is when
      the last reading of all accounts began (None: there was none), *now_ms* is Redis'
      clock.
    - Instances of custom objects: those of
      *objects_late* accounts are not shown; *objects_failing* says why none can be sent.
    - Why nothing is written: *breaker* says why all writes stopped, *paused* why somebody
      paused them, *failing* how Vitally fails; in a *dry_run* all stays pending.
    - What needs a person: *mass_parties* are those of the parked that are part of a mass
      change; *unread* pointers are held because their source's API key is not set;
      others changed or deleted *drift* accounts in Vitally.
    - Quarantine: *quarantined* events are in *quarantine_deliveries*, which take
      *quarantine_bytes*; *quarantined_lately* came within the last hour;
      *quarantine_dropped* were dropped, and their events count as ignored.
    - Refused deliveries, by `source:reason`: *refused* since the beginning,
      *refused_lately* within the last hour, *refused_now* within the last 10 to 20 minutes.
    - *limit* (units a minute) and *cost* of a write come from Vitally's replies; so does
      *scarce_at*, when others had last used up almost all of it (None: they never did);
      *durations* are the numbers of the histograms. *keys_refused* maps sources to why
      they refuse the key of their API, *complete* to how far they were compared with their
      own list.
    """

    received: int
    accepted: int
    duplicate: int
    ignored: int
    quarantined: int
    settled: int
    pending: int
    held: int
    parked: int
    writes: int
    saved: int
    discarded: int
    forgotten: int
    quarantine_bytes: int
    quarantine_dropped: int
    waiting: int
    dirty: int
    oldest_ms: int | None
    held_parties: int
    parked_parties: int
    mass_parties: int
    incomplete: int
    unknown: int
    unread: int
    drift: int
    objects_late: int
    objects_failing: str | None
    quarantine_deliveries: int
    quarantined_lately: int
    workers: Mapping[str, int]
    breaker: str | None
    paused: str | None
    failing: Failing | None
    keys_refused: Mapping[str, str]
    complete: Mapping[str, Checkpoint]
    dry_run: bool
    listed_at: int | None
    emptied: int | None
    backfilled: Mapping[str, int]
    limit: int
    cost: int
    scarce_at: int | None
    outcomes: Mapping[str, int]
    refused: Mapping[str, int]
    refused_lately: Mapping[str, int]
    refused_now: Mapping[str, int]
    durations: Mapping[str, int]
    now_ms: int

    @property
    def heard(self) -> list[str]:
        """Workers that were heard a short while ago."""
        return sorted(w for w, ms in self.workers.items() if ms < SILENCE_MS)

    @property
    def apart_ms(self) -> int:
        """Time between two writes that use half of Vitally's limit: new events use the rest."""
        return int(2000 * drained_in(1, self.limit, self.cost))

    def drained_in(self, share: float) -> float:
        """Seconds until all that waits is written, at *share* of Vitally's limit."""
        return drained_in(self.dirty, self.limit * share, self.cost)


LATELY_MS = 3_600_000
"""What came within this time came lately."""

OUTCOME, REFUSED = "outcome:", "refused:"
"""Prefixes of the counters of jobs' outcomes and of refused deliveries."""

SPAN_MS = 600_000
"""Refused deliveries are counted in spans of this length."""


def _text(raw: bytes | None) -> str | None:
    # Writes that were paused for no reason ("") are paused.
    return None if raw is None else raw.decode()


def _texts(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): text.decode() for name, text in raw.items()}


def _numbers(raw: Mapping[bytes, bytes]) -> dict[str, int]:
    return {name.decode(): int(number) for name, number in raw.items()}


def _instant(raw: bytes | None) -> int | None:
    return int(raw or 0) or None


def _failing(row: Sequence[bytes | None]) -> Failing | None:
    reason, *times = row
    if reason is None:
        return None
    return Failing(reason.decode(), *(int(time or 0) for time in times))


def _lately(pipe: Any) -> object:
    # Not on Redis' clock, which is asked at the same time; a second is no matter.
    hour_ago = time.time_ns() // 1_000_000 - LATELY_MS
    return pipe.zcount(keys.QUARANTINED, hour_ago, "+inf")


READ: Mapping[str, tuple[Callable[[Any], object], Callable[[Any], Any]]] = {
    "waiting": (lambda pipe: pipe.llen("rq:queue:bridge"), int),
    "dirty": (lambda pipe: pipe.zcard(keys.DIRTY), int),
    "held_parties": (lambda pipe: pipe.zcard(keys.HELD), int),
    "parked_parties": (lambda pipe: pipe.zcard(keys.PARKED), int),
    "mass_parties": (lambda pipe: pipe.zcard(keys.MASS), int),
    "incomplete": (lambda pipe: pipe.scard(keys.INCOMPLETE), int),
    "unknown": (lambda pipe: pipe.hlen(keys.UNKNOWN), int),
    "unread": (lambda pipe: pipe.scard(keys.UNREAD), int),
    "drift": (lambda pipe: pipe.scard(keys.DRIFT), int),
    "objects_late": (lambda pipe: pipe.scard(keys.OBJECTS_LATE), int),
    "objects_failing": (lambda pipe: pipe.hget(keys.OBJECTS_REST, "reason"), _text),
    "quarantine_deliveries": (lambda pipe: pipe.zcard(keys.QUARANTINED), int),
    "quarantined_lately": (_lately, int),
    "breaker": (lambda pipe: pipe.get(keys.BREAKER), _text),
    "paused": (lambda pipe: pipe.get(keys.PAUSED), _text),
    "dry_run": (lambda pipe: pipe.exists(keys.DRY_RUN), bool),
    "listed_at": (lambda pipe: pipe.get(keys.LISTED), _instant),
    "emptied": (lambda pipe: pipe.get(keys.EMPTIED), _instant),
    "backfilled": (lambda pipe: pipe.hgetall(keys.BACKFILLED), _numbers),
    "limit": (lambda pipe: pipe.hget(keys.RATE, "limit"), lambda n: int(n or LIMIT)),
    "cost": (lambda pipe: pipe.hget(keys.RATE, "cost"), lambda n: int(n or COST)),
    "scarce_at": (lambda pipe: pipe.hget(keys.RATE, "scarce"), _instant),
    "failing": (lambda pipe: pipe.hmget(keys.FAILING, *Failing._fields), _failing),
    "keys_refused": (lambda pipe: pipe.hgetall(keys.KEYS_REFUSED), _texts),
    "complete": (lambda pipe: pipe.hgetall(keys.COMPLETE), checkpoints),
    "durations": (lambda pipe: pipe.hgetall(keys.DURATIONS), _numbers),
}
"""Figure -> how Redis is asked, and what the reply says. The others are counters."""


def figures(redis: Redis) -> Figures:
    """Read them all, in one round trip. Raises redis' own errors."""
    client: Any = redis
    with client.pipeline(transaction=True) as pipe:
        for ask, _ in READ.values():
            ask(pipe)
        pipe.hgetall(keys.COUNTERS)
        pipe.zrange(keys.DIRTY, 0, 0, withscores=True)
        pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
        pipe.hgetall(keys.REFUSED_LATELY)
        pipe.time()
        *replies, counters, oldest, workers, spans, clock = pipe.execute()
    now, counted = clock[0] * 1000 + clock[1] // 1000, _numbers(counters)
    values: dict[str, Any] = {name: counted.get(name, 0) for name in Figures._fields}
    for (name, (_, read)), reply in zip(READ.items(), replies, strict=True):
        values[name] = read(reply)
    values |= {
        "now_ms": now,
        "oldest_ms": max(0, now - int(oldest[0][1])) if oldest else None,
        "workers": {name.decode(): max(0, now - int(at)) for name, at in workers},
        "outcomes": _below(OUTCOME, counted),
        "refused": _below(REFUSED, counted),
        "refused_lately": _since(now // SPAN_MS - 5, spans),
        "refused_now": _since(now // SPAN_MS - 1, spans),
    }
    return Figures(**values)


def _below(prefix: str, counted: Mapping[str, int]) -> dict[str, int]:
    names = (name for name in counted if name.startswith(prefix))
    return {name.removeprefix(prefix): counted[name] for name in names}


def _since(first: int, spans: Mapping[bytes, bytes]) -> dict[str, int]:
    """The sums by name of what was counted in the span *first* and later."""
    sums: Counter[str] = Counter()
    for field, number in spans.items():
        span, _, name = field.decode().partition(":")
        if int(span) >= first:
            sums[name] += int(number)
    return dict(sums)


class Standing(NamedTuple):
    """How many events of a party are settled; *why* it is held or parked."""

    party: str
    account: str | None
    rev: int
    settled: int
    held: int
    parked: int
    why: str

    @property
    def pending(self) -> int:
        """Events that are accepted and neither settled nor held nor parked."""
        return self.rev - self.settled - self.held - self.parked


class Record(NamedTuple):
    """Everything stored about one account.

    *tries* counts failed writes; *failed* is why the last one did ("": not known);
    the next try is not before the instant *not_before* (ms; 0: it is not put off).
    *instances*: what was sent of each instance of a custom object.
    """

    account: str
    members: Sequence[Member]
    standings: Sequence[Standing]
    ledger: Ledger
    written: bool
    tries: int
    failed: str
    not_before: int
    incomplete: Sequence[str]
    history: Sequence[Mapping[str, Any]]
    catalogues: Catalogues
    instances: Mapping[str, Sent]

    @property
    def parties(self) -> list[Party]:
        """What the domain calls the parties."""
        return [member.party(self.catalogues, self.account) for member in self.members]


STANDING = ("account", "why", "rev", "settled", "held", "parked")
"""Fields of a party's record that say how it stands."""

BATCH = 1000
"""Parties that are read in one round trip."""


def _standing(
    party: str, row: Sequence[bytes | None], parked_at: float | None
) -> Standing | None:
    account, why = ((raw or b"").decode() for raw in row[:2])
    if row[2] is not None:
        rev, settled, held, parked = (int(raw or 0) for raw in row[2:])
        return Standing(party, account or None, rev, settled, held, parked, why)
    if parked_at is None and not why:
        return None
    # An organization, or an account that all have left, where Vitally refuses the write.
    account = account or PartyName.parse(party).id
    return Standing(party, account, 0, 0, 0, 0, why or "its traits cannot be removed")


class StateReader(Store):
    """Reads how parties and accounts stand."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._leases = Leases(redis)

    def standing(self, party: str) -> Standing | None:
        """Return how a party stands, None where it was never heard of."""
        return self.standings([party])[0]

    def standings(self, parties: Sequence[str]) -> list[Standing | None]:
        """Return how each of *parties* stands, many at a time."""
        found: list[Standing | None] = []
        for some in batches(parties, BATCH):
            rows = each(self._redis, "hmget", map(keys.party, some), STANDING)
            parked = self._redis.zmscore(keys.PARKED, some)
            found += map(_standing, some, rows, parked)
        return found

    def jobs(self, party: str) -> list[str]:
        """Return the ids of the party's job, and of its last failed one."""
        found = self._redis.hmget(keys.party(party), "job", "failed")
        return [raw.decode() for raw in found if raw]

    def member(self, party: str) -> Member:
        """Read one party's facts."""
        return self._leases.members([party])[0]

    def members_of(self, account: str) -> list[str]:
        """Return the parties of an account, or of an organization's accounts, by name."""
        accounts = {account}
        if of := organization_id(account):
            found = self._redis.smembers(keys.children(of))
            accounts |= {raw.decode() for raw in found}
        own = self._redis.sunion([*map(keys.members, accounts)])
        return sorted(raw.decode() for raw in own)

    def record(self, account: str, parties: Sequence[str]) -> Record:
        """Read everything of *account*, whose members *parties* are."""
        raw = self._redis.hgetall(keys.account(account))
        ledger = raw.get(b"ledger")
        standings = self.standings(parties)
        members = self._leases.members(parties)
        return Record(
            account,
            members,
            [one for one in standings if one],
            read_ledger(ledger, raw.get(b"seen")),
            ledger is not None,
            int(raw.get(b"tries", 0)),
            raw.get(b"failed", b"").decode(),
            int(raw.get(b"not_before", 0)),
            [p for p in parties if self._redis.sismember(keys.INCOMPLETE, p)],
            self.histories([account])[account],
            used(self._redis, members, register=False),
            Objects(self._redis).read(account),
        )

    def histories(self, accounts: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
        """Return the last writes of each account, newest first."""
        written = each(self._redis, "lrange", map(keys.history, accounts), 0, -1)
        pairs = zip(accounts, written, strict=True)
        return {name: [orjson.loads(line) for line in lines] for name, lines in pairs}

    def currency(self, account: str) -> str | None:
        """The currency of its MRR, as of its last job; None: it is not known."""
        found = Index(self._redis).some([account])
        return found[account].currency if found else None

    def listed(self, key: str) -> list[tuple[Standing, int]]:
        """Return the held or parked parties with the instant (ms) since when."""
        rows = self._redis.zrange(key, 0, -1, withscores=True)
        standings = self.standings([raw.decode() for raw, _ in rows])
        pairs = zip(standings, rows, strict=True)
        return [(standing, int(since)) for standing, (_, since) in pairs if standing]

    def incomplete(self, most: int) -> list[str]:
        """Return up to *most* parties that were first met in mid-life."""
        names = self._redis.sscan_iter(keys.INCOMPLETE, count=most)
        return sorted(raw.decode() for raw in islice(names, most))

    def every_standing(self) -> Iterator[Standing]:
        """Scan all parties; while events come in, a moving picture."""
        yield from filter(None, self.standings([*named(self._redis, keys.party(""))]))
