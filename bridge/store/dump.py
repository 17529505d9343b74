"""The whole state as lines of JSON: writes a file of it, and fills an empty Redis from one.

Each line holds a key, its type, its remaining life (ms; -1: for ever) and its value. A
party is read together with its facts, and after everything else, so that no account has
more than its facts say. What follows from the parties (members, those that wait, counts)
is made anew, so a file that was written while events came adds up, too. Leases, claims
and jobs are left out: the sweeper queues new ones.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from redis import Redis

from bridge.domain.facts import STAND_INS, kind_of, organization, organization_id
from bridge.errors import BridgeError
from bridge.store import keys
from bridge.store.connect import batches, each, milliseconds, named, own_client

FORMAT = 1
"""Version of the file's format."""

BATCH = 200
"""Keys that are read or written in one step."""

PATIENCE = 30.0
"""Seconds that Redis has for a step."""

RUNNING = (keys.WORKERS, keys.SWEEPER, keys.READER, keys.LISTING, keys.SLOTS)
"""What only running processes need."""

SEEN = (
    *(keys.FLUSHED, keys.SAMPLED, keys.FAILING, keys.KEYS_REFUSED, keys.ALERTS),
    keys.OBJECTS_REST,
)
"""What running processes have seen."""

DERIVED = (keys.lease(""), keys.waiters(""), keys.members(""), keys.children(""))
"""What follows from jobs and parties."""

LEFT_OUT = (*RUNNING, *SEEN, *DERIVED, keys.BREAKER, keys.PAUSE)
"""Beginnings of keys that are not exported."""

FACTS, PARTY, ACCOUNT = keys.facts(""), keys.party(""), keys.account("")

PROOF = (PARTY, FACTS, ACCOUNT, keys.JOURNAL)
"""Beginnings of keys without which Redis has no state, only running processes."""

LISTS = (keys.DIRTY, keys.HELD, keys.PARKED)
"""Those that wait, since when."""

OF_ACCOUNTS = ("organization", "shared")
"""Fields of an account that follow from its parties."""

OF_JOBS = ("claim", "claimed_at", "job")
"""Fields of a party that are about a job."""

DAMAGE = (
    *(ValueError, LookupError, TypeError, AttributeError),
    *(RecursionError, zlib.error),
)
"""What reading a line raises that `export` did not write."""

READ: Mapping[str, Callable[[Any, str], object]] = {
    "hash": lambda pipe, key: pipe.hgetall(key),
    "set": lambda pipe, key: pipe.smembers(key),
    "zset": lambda pipe, key: pipe.zrange(key, 0, -1, withscores=True),
    "list": lambda pipe, key: pipe.lrange(key, 0, -1),
    "stream": lambda pipe, key: pipe.xrange(key),
    "string": lambda pipe, key: pipe.get(key),
    "none": lambda pipe, key: pipe.get(key),
}
"""Type of a key (`none`: it expired) -> how it is read."""

WRITE: Mapping[str, Callable[[Any, str, Any], object]] = {
    "hash": lambda pipe, key, value: pipe.hset(key, mapping=value),
    "set": lambda pipe, key, value: pipe.sadd(key, *value),
    "zset": lambda pipe, key, value: pipe.zadd(key, dict(value)),
    "list": lambda pipe, key, value: pipe.rpush(key, *value),
    "stream": lambda pipe, key, value: [pipe.xadd(key, f, id=id_) for id_, f in value],
    "string": lambda pipe, key, value: pipe.set(key, value),
}


def export(redis: Redis) -> Iterator[str]:
    """Yield the lines of a file. Raises redis' own errors."""
    yield _line({"format": FORMAT, "state": keys.PREFIX, "at": milliseconds(redis)})
    count, texts = 0, _texts(redis)
    for names in _in_order(redis):
        for some in batches(names, BATCH):
            for row in _read(texts, some):
                yield _line(row)
                count += 1
    yield _line({"lines": count})


def _in_order(redis: Redis) -> Iterator[list[str]]:
    """Yield the names of all keys: parties last, each with its facts.

    Parties are looked for only after the rest was read: an event that the ring knows, or
    a row of the index, is of a party that is there.
    """
    before = [n for n in _names(redis) if not n.startswith((PARTY, FACTS))]
    yield before
    after = sorted({*_names(redis)} - {*before})
    yield [name for name in after if not name.startswith((PARTY, FACTS))]
    parties = [name for name in after if name.startswith(PARTY)]
    yield [n for name in parties for n in (name, name.replace(PARTY, FACTS, 1))]


def check(lines: Iterable[str]) -> int:
    """Return how many keys a file has. Raises BridgeError where it is not whole."""
    count, last = -2, ""
    try:
        for count, last in enumerate(lines, -1):
            row = json.loads(last)
            if count < 0 and (row["state"], row["format"]) != (keys.PREFIX, FORMAT):
                raise BridgeError("it was exported by another version")
            if count >= 0 and row != {"lines": count}:
                _fits(*row)
        whole = count >= 0 and json.loads(last) == {"lines": count}
    except (*DAMAGE, OSError, EOFError):
        raise BridgeError("it is not an export, or damaged") from None
    if not whole:
        raise BridgeError("its end is missing")
    return count


def _fits(name: str, kind: str, life: int, value: Any) -> None:
    """Raise one of DAMAGE where a row is not one of ours."""
    if not name.startswith(keys.PREFIX) or type(life) is not int or not value:
        raise ValueError
    WRITE[kind]


def is_empty(redis: Redis) -> bool:
    """Whether Redis has no state yet."""
    return not any(name.startswith(PROOF) for name in _names(redis))


def load(redis: Redis, lines: Iterable[str]) -> Iterator[int]:
    """Fill an empty Redis from a checked file; yield how many keys are done.

    The lists of those that wait come last, so no job begins before all is there.
    """
    texts, done, kept = _texts(redis), 0, dict[str, Any]()
    rows = (json.loads(line) for line in islice(lines, 1, None))
    for some in batches((row for row in rows if isinstance(row, list)), BATCH):
        _restore(texts, some)
        kept |= {row[0]: row[3] for row in some if _matters(*row)}
        done += len(some)
        yield done
    _conclude(texts, kept)


def _matters(name: str, kind: str, life: int, value: Any) -> bool:
    """Whether a row says who waits, or that a write was not confirmed."""
    if name.startswith(ACCOUNT):
        is_organization = bool(organization_id(name.removeprefix(ACCOUNT)))
        return is_organization or not {"doubt", "stale"}.isdisjoint(value)
    return name.startswith((PARTY, *LISTS))


def _restore(redis: Redis, rows: Iterable[list[Any]]) -> None:
    """Write some keys as they were."""
    with redis.pipeline(transaction=False) as pipe:
        for name, kind, life, value in rows:
            if name not in LISTS:
                WRITE[kind](pipe, name, value)
            if name.startswith(PARTY):
                pipe.hdel(name, *OF_JOBS)
            if name.startswith(ACCOUNT):
                pipe.hdel(name, *OF_ACCOUNTS)
            if life > 0:
                pipe.pexpire(name, life)
        pipe.execute()


def _conclude(redis: Redis, kept: dict[str, Any]) -> None:
    """Write what follows from the parties; *kept* has them, and the lists as they were."""
    since: dict[str, dict[str, float]] = {key: dict(kept.pop(key, ())) for key in LISTS}
    unsure = {name.removeprefix(ACCOUNT) for name in kept if name.startswith(ACCOUNT)}
    records = (row for row in kept.items() if row[0].startswith(PARTY))
    parties = {name.removeprefix(PARTY): record for name, record in records}
    waiting, counts = _counted(parties)
    waiting[keys.DIRTY] |= {*since[keys.DIRTY]}
    # A write was on its way when the account was exported.
    waiting[keys.DIRTY] |= {
        party
        for party, one in parties.items()
        if one.get("account") in unsure and one.get("parked", "0") == "0"
    }
    parked = since[keys.PARKED]
    waiting[keys.PARKED] |= {name for name in parked if kind_of(name) in STAND_INS}
    now, sums = milliseconds(redis), {**counts, **_received(redis, counts)}
    with redis.pipeline(transaction=True) as pipe:
        for party, record in parties.items():
            if (account := record.get("account")) and account != party:
                pipe.sadd(keys.members(account), party)
        _place(pipe, parties, now)
        for name in filter(organization_id, unsure):
            pipe.zadd(keys.LATER, {name: now})
        for key, names in waiting.items():
            for party in names:
                pipe.zadd(key, {party: since[key].get(party, now)})
        for name, number in sums.items():
            pipe.hset(keys.COUNTERS, name, str(number))
        pipe.execute()


def _place(pipe: Any, parties: Mapping[str, Mapping[str, str]], now: int) -> None:
    """Put accounts back into the organizations that their parties say, and look at those."""
    places: dict[str, dict[str, str]] = {}
    for party, record in parties.items():
        if account := record.get("account"):
            its = places.setdefault(account, {})
            its[party] = record.get("organization", "")
    for account, its in places.items():
        if of := max(its.values()):
            pipe.sadd(keys.children(of), account)
            pipe.hset(keys.account(account), OF_ACCOUNTS[0], of)
        due = {organization(of) for of in its.values() if of}
        # Where they differ, it was exported while the account moved.
        due |= {*its} if len({*its.values()}) > 1 else set()
        for name in due:
            pipe.zadd(keys.LATER, {name: now})


def _counted(
    parties: dict[str, dict[str, str]],
) -> tuple[dict[str, set[str]], dict[str, int]]:
    """Who waits, by the key of the list, and how many events are in which state."""
    waiting: dict[str, set[str]] = {key: set() for key in LISTS}
    counts = Counter[str]()
    for party, record in parties.items():
        names = ("rev", "settled", "held", "parked")
        rev, *ended = (int(record.get(name) or 0) for name in names)
        settled, held, parked = ended
        pending = rev - sum(ended)
        counts.update(accepted=rev, settled=settled, pending=pending)
        counts.update(held=held, parked=parked)
        for key, events in zip(LISTS, (pending, held, parked), strict=True):
            if events:
                waiting[key].add(party)
    return waiting, counts


def _received(redis: Any, counts: dict[str, int]) -> dict[str, int]:
    """The sums of which the events of parties are only a part."""
    names = ("forgotten", "duplicate", "ignored")
    forgotten, *rest = (int(n or 0) for n in redis.hmget(keys.COUNTERS, names))
    quarantined = sum(map(int, redis.hvals(keys.QUARANTINED_EVENTS)))
    accepted = counts["accepted"] + forgotten
    return {
        "accepted": accepted,
        "settled": counts["settled"] + forgotten,
        "quarantined": quarantined,
        "received": accepted + quarantined + sum(rest),
    }


def _names(redis: Redis) -> list[str]:
    """The names of all keys that are exported."""
    names = (keys.PREFIX + rest for rest in named(redis, keys.PREFIX))
    return sorted(name for name in names if not name.startswith(LEFT_OUT))


def _texts(redis: Redis) -> Any:
    """A client to which all that is in Redis is text, whatever bytes that stands for."""
    form = {"decode_responses": True, "encoding_errors": "surrogateescape"}
    return own_client(redis, timeout=PATIENCE, most=1, **form)


def _read(texts: Any, names: Sequence[str]) -> Iterator[list[Any]]:
    """The rows of some keys, as they are at one moment."""
    types = each(texts, "type", names)
    with texts.pipeline(transaction=True) as pipe:
        for name, kind in zip(names, types, strict=True):
            pipe.pttl(name)
            READ[kind](pipe, name)
        replies = pipe.execute()
    rows = zip(names, types, replies[::2], replies[1::2], strict=True)
    yield from ([*row] for row in rows if row[3])


def _line(data: object) -> str:
    # Not orjson, which refuses the halves of characters that other bytes become.
    return json.dumps(data, separators=(",", ":"), default=list) + "\n"
