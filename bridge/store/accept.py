"""Stores the facts of an event: one script, one round trip, and a claim for a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2s
from typing import NamedTuple

from redis.exceptions import RedisError

from bridge.domain.facts import Fact
from bridge.errors import StorageError
from bridge.store import codec, keys
from bridge.store.connect import Store

STALE_CLAIM = 2000
"""Milliseconds after which the next event takes over a claim without a job."""

RING = 20_000
"""Most recent events that the `duplicate` receipt recognizes."""

JOURNAL = 10_000
"""Most lines of the journal."""

STRENGTH = ("ignored", "duplicate", "coalesced", "queued", "quarantined")
"""Receipts from weakest to strongest; the reply to a batch has its strongest."""

LONGEST = 200
"""Most characters of an ignored event's id, kind and reason that the journal keeps."""


class Accepted(NamedTuple):
    """What became of one event of one party.

    *claim* is the number under which a job must be queued; 0: one is already queued.
    *known* says that Vitally is known to have the party's account.
    """

    receipt: str
    claim: int
    known: bool


class Origin(NamedTuple):
    """Where an event comes from: the id of its *delivery* ("": none over HTTP).

    *replayed* is the delivery in the quarantine that the event comes out of.
    """

    delivery: str = ""
    replayed: str = ""


NOWHERE = Origin()


class Accept(Store):
    """Stores events; raises StorageError if Redis does not accept them."""

    def facts(
        self,
        source: str,
        facts: Sequence[Fact],
        origin: Origin = NOWHERE,
        *,
        urgent: bool = False,
    ) -> Accepted:
        """Put the *facts* of one event of one party; repeating it changes nothing.

        Of an event that is there, but was told otherwise, both renderings are kept.
        An *urgent* event gets a job of its own where one waits behind others.
        """
        party, event, kind = facts[0].party, facts[0].event, facts[0].kind
        head = (party, _digest(source, facts), source, event, kind)
        limits = (STALE_CLAIM, RING, JOURNAL)
        how = (*limits, *origin, "1" if urgent else "")
        rows = codec.rows(facts)
        with stored():
            receipt, claim, known = self._run("accept", *head, *how, *rows)
        return Accepted(receipt.decode(), int(claim), bool(known))

    def seen(
        self, source: str, events: Sequence[Sequence[Fact]]
    ) -> tuple[list[bool], int]:
        """Whether each of *events*, facts of one party, is among the last `RING`.

        And since when (ms) those are; 0: it has all that were ever accepted.
        """
        names = [_digest(source, facts) for facts in events]
        with stored(), self._redis.pipeline(transaction=True) as pipe:
            pipe.zcard(keys.RECENT)
            pipe.zrange(keys.RECENT, 0, 0, withscores=True)
            pipe.zmscore(keys.RECENT, names or [""])
            many, oldest, scores = pipe.execute()
        since = int(oldest[0][1]) if many >= RING else 0
        return [score is not None for score in scores], since

    def ignore(
        self,
        source: str,
        events: Iterable[tuple[str, str, str]],
        origin: Origin = NOWHERE,
    ) -> None:
        """Count and journal *events* (id, kind, reason) that leave no facts, in one trip."""
        words = [word[:LONGEST] for event in events for word in event]
        if words:
            with stored():
                self._run("note", source, JOURNAL, *origin, *words)


def _digest(source: str, facts: Sequence[Fact]) -> str:
    """What the ring remembers of an event; another one may have its id."""
    party, kind = facts[0].party, facts[0].kind
    text = "\n".join((source, party, kind, *sorted(map(codec.field, facts))))
    return blake2s(text.encode(), digest_size=8).hexdigest()


@contextmanager
def stored() -> Iterator[None]:
    """Raise StorageError where Redis does not take something.

    It names the kind of Redis' error alone: its text may quote what was sent.
    """
    try:
        yield
    except RedisError as error:
        name = type(error).__name__
        raise StorageError(f"Redis did not store it ({name})") from error
