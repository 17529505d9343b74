"""How facts come in: one script, one round trip, and a claim for a job."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import blake2s
from typing import NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from bridge.domain.facts import Fact
from bridge.errors import StorageError
from bridge.store import codec, keys
from bridge.store.connect import load

STALE_CLAIM = 2000
"""Milliseconds after which a claim without a job is taken up by the next event."""

RING = 20_000
"""Events that the `duplicate` receipt remembers."""

JOURNAL = 10_000
"""Lines of the journal."""


class Accepted(NamedTuple):
    """What became of one event of one party.

    *claim* is the number under which a job has to be queued, 0 where one waits.
    *known* says that Vitally is known to have the party's account.
    """

    receipt: str
    claim: int
    known: bool


class Accept:
    """The door to the state; raises StorageError where Redis does not take it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._accept = redis.register_script(load("accept"))
        self._note = redis.register_script(load("note"))

    def facts(  # noqa: PLR0913, PLR0917 - the parts of an event
        self,
        party: str,
        source: str,
        event: str,
        kind: str,
        facts: Collection[Fact],
        replayed: str = "",
    ) -> Accepted:
        """Put *facts* of one *event* of *party*; repeating it changes nothing.

        Of an event that is there, but was told otherwise, both renderings are kept.
        *replayed* is the delivery in the quarantine that the event comes out of.
        """
        args: list[str | bytes | int] = [
            party,
            _digest(source, party, kind, facts),
            source,
            event,
            kind,
            STALE_CLAIM,
            RING,
            JOURNAL,
            replayed,
        ]
        for fact in facts:
            args += (codec.field(fact), codec.row(fact))
        try:
            receipt, claim, known = self._accept(args=args)
        except RedisError as error:
            raise StorageError(_plain(error)) from error
        return Accepted(receipt.decode(), int(claim), bool(known))

    def has_seen(
        self, party: str, source: str, kind: str, facts: Collection[Fact]
    ) -> bool:
        """Whether the event of *facts* of *party* is among the last `RING`."""
        digest = _digest(source, party, kind, facts)
        try:
            return self._redis.zscore(keys.RECENT, digest) is not None
        except RedisError as error:
            raise StorageError(_plain(error)) from error

    def ignore(
        self, source: str, events: Iterable[tuple[str, str]], replayed: str = ""
    ) -> None:
        """Count and journal *events* (id, kind) that leave no facts, in one trip."""
        pairs = [word for event in events for word in event]
        try:
            if pairs:
                self._note(args=[source, JOURNAL, replayed, *pairs])
        except RedisError as error:
            raise StorageError(_plain(error)) from error


def _digest(source: str, party: str, kind: str, facts: Iterable[Fact]) -> str:
    """What the ring remembers of an event; another one may have its id."""
    told = "\n".join((source, party, kind, *sorted(map(codec.field, facts))))
    return blake2s(told.encode(), digest_size=8).hexdigest()


def _plain(error: RedisError) -> str:
    """The kind of a Redis error; its text may quote what was sent."""
    return f"Redis did not take it ({type(error).__name__})"
