"""Changes to the state that a person on call can make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson
from redis import Redis

from bridge.domain.facts import catalogue, source_of, vacated
from bridge.store import keys
from bridge.store.accept import JOURNAL
from bridge.store.connect import Scripts, each, named
from bridge.store.lease import own_account
from bridge.store.samples import mark


def discard(redis: Redis, party: str) -> int | None:
    """Settle without a write what *party* is held or parked with: how many events.

    None: it is neither. Its facts stay.
    """
    discarded = int(Scripts(redis)("discard", party, JOURNAL))
    return None if discarded < 0 else discarded


def discard_all(redis: Redis, parties: Sequence[str]) -> int:
    """Do so for all *parties*, in one round trip; return how many events."""
    run = Scripts(redis)
    with redis.pipeline(transaction=False) as pipe:
        for party in parties:
            run("discard", party, JOURNAL, client=pipe)
        return sum(discarded for discarded in pipe.execute() if discarded > 0)


class Forgotten(NamedTuple):
    """What `forget` removed: *keys* maps a key, without ids, to how many of its lines.

    *other* is another party of its account, "" none.
    """

    keys: Mapping[str, int]
    other: str


def forget(redis: Redis, party: str) -> Forgotten | None:
    """Remove all that is stored of *party*, and of its account if it was the last one.

    None: a worker has the account's lease; try again.
    """
    things, own = catalogue(source_of(party), ""), own_account(party) or ""
    # All of the source: an event of long ago may have used what the facts do not name now.
    uses = [] if own else [things + rest for rest in named(redis, keys.uses(things))]
    text = orjson.dumps(uses)
    answer = Scripts(redis)("forget", party, own, vacated(""), text)
    if not answer:
        return None
    gone, other = answer
    lines = Counter[str]()
    for name, number in gone:
        lines[name.decode()] += number
    return Forgotten(lines, other.decode())


def owe_whole(redis: Redis, accounts: Iterable[str]) -> None:
    """Have the next write of each of *accounts* carry all its traits, as if unconfirmed."""
    each(redis, "hsetnx", map(keys.account, accounts), "doubt", "1")


def pause(redis: Redis, reason: str) -> None:
    """Stop all writes to Vitally, for every worker, until `resume`."""
    redis.set(keys.PAUSED, reason)
    mark(redis, f"pause: {reason}")


def resume(redis: Redis) -> bool:
    """Let writes go on; False: they were not paused."""
    was_paused = bool(redis.delete(keys.PAUSED))
    if was_paused:
        mark(redis, "resume")
    return was_paused


def paused(redis: Redis) -> str | None:
    """Why somebody paused all writes; None: they are not paused."""
    raw = redis.get(keys.PAUSED)
    return raw.decode() if isinstance(raw, bytes) else None
