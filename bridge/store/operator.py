"""Changes to the state that a person on call can make."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis

from bridge.store import keys
from bridge.store.accept import JOURNAL
from bridge.store.connect import Scripts


def discard(redis: Redis, party: str) -> int | None:
    """Settle without a write what *party* is held or parked with: how many events.

    None: it is neither. Its facts stay.
    """
    given_up = int(Scripts(redis)("discard", party, JOURNAL))
    return None if given_up < 0 else given_up


def discard_all(redis: Redis, parties: Sequence[str]) -> int:
    """Do so for all *parties*, in one round trip; return how many events."""
    run = Scripts(redis)
    with redis.pipeline(transaction=False) as pipe:
        for party in parties:
            run("discard", party, JOURNAL, client=pipe)
        return sum(given_up for given_up in pipe.execute() if given_up > 0)


def pause(redis: Redis, reason: str) -> None:
    """Stop all writes to Vitally, for every worker, until `resume`."""
    redis.set(keys.PAUSED, reason)


def resume(redis: Redis) -> bool:
    """Let writes go on; False: they were not paused."""
    return bool(redis.delete(keys.PAUSED))


def paused(redis: Redis) -> str | None:
    """Why somebody paused all writes; None: they are not paused."""
    raw = redis.get(keys.PAUSED)
    return raw.decode() if isinstance(raw, bytes) else None
