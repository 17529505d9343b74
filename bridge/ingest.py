"""The story of a delivery: verify, split, understand, accept, queue; then it is ours.

Open this file first. Everything above the 2xx happens here, top to bottom:

    bytes ─verify─▶ Verified ─split─▶ Event ─schema─▶ loaded ─facts─▶ [Fact] ─accept─▶
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from hashlib import blake2s
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from marshmallow import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from bridge.domain.facts import READ, Fact
from bridge.errors import PayloadError
from bridge.queue import LUA, Queue
from bridge.settings import Settings
from bridge.store.accept import NO_JOB, Accept
from bridge.store.quarantine import Quarantine
from bridge.webhook.source import Delivery, Event, Source, Verified

STRENGTH = ("ignored", "duplicate", "coalesced", "queued", "quarantined")
"""Receipts from the weakest to the strongest; a batch is told its strongest."""

PARTY = attrgetter("party")

Later = list[Callable[[], object]] | None
"""Jobs to queue once a whole delivery is stored; None: each is queued at once."""


class Receipt(NamedTuple):
    """What became of a delivery; *counts* by receipt where it held several events."""

    receipt: str
    event: str | None = None
    reason: str | None = None
    counts: Mapping[str, int] | None = None


class Ingress:
    """Receives deliveries of the *sources* that are switched on."""

    def __init__(
        self, settings: Settings, redis: Redis, sources: Iterable[Source]
    ) -> None:
        self.options = settings.sources
        self.sources = {s.name: s for s in sources if s.enabled(settings.sources)}
        self._accept = Accept(redis, LUA)
        self._quarantine = Quarantine(redis)
        self._queue = Queue(redis)

    def receive(self, source: Source, delivery: Delivery, now: float) -> Receipt:
        """Take a delivery at *now* (seconds). Raises SignatureError, StorageError.

        Whatever the content is, an authentic delivery gets a receipt: sending it
        again could not help.
        """
        return self.take_in(source, source.verify(delivery, self.options, now))

    def take_in(self, source: Source, verified: Verified) -> Receipt:
        """Take the content of a delivery whose sender is proved. Raises StorageError."""
        try:
            events = list(source.split(verified))
        except PayloadError as error:
            return self._quarantined(source, verified, error.event, error.reason)
        # A job that begins after the first of several events would see a part of them.
        later: Later = [] if len(events) > 1 else None
        try:
            receipts = [self._event(source, verified, event, later) for event in events]
        finally:
            # Where this fails the party's next event or the sweeper queues the job.
            with suppress(RedisError):
                for queue in later or ():
                    queue()
        return _strongest(receipts)

    def _event(
        self, source: Source, verified: Verified, event: Event, later: Later
    ) -> Receipt:
        facts, refusal = self.understood(source, event)
        if refusal is None:
            creates = source.handlers[event.type].creates
            return self.admit(source, event, facts, creates=creates, later=later)
        if refusal.receipt == "quarantined":
            return self._quarantined(source, verified, event.id, refusal.reason or "")
        self._accept.note("ignored", source.name, event.id, event.type)
        return refusal

    def understood(
        self, source: Source, event: Event
    ) -> tuple[list[Fact], Receipt | None]:
        """Return the facts of *event*, or the receipt that it gets without any."""
        reason = source.ignores(event, self.options)
        handler = source.handlers.get(event.type)
        if reason is None and handler is None:
            why = source.without_effect.get(event.type)
            reason = f"{event.type} has no effect" + (f": {why}" if why else "")
        if reason is not None or handler is None:
            return [], Receipt("ignored", event.id, reason)
        try:
            loaded = handler.schema.load(event.body)
            facts = list(handler.facts(event, loaded, self.options))
        except ValidationError as error:
            reason = f"{event.type}: {_words(error.messages)}"
            return [], Receipt("quarantined", event.id, reason)
        if not facts:
            reason = "it changes nothing of an account"
            return [], Receipt("ignored", event.id, reason)
        return facts, None

    def admit(
        self,
        source: Source,
        event: Event,
        facts: Iterable[Fact],
        *,
        creates: bool,
        later: Later = None,
    ) -> Receipt:
        """Accept the *facts* of *event*, party by party. Raises StorageError."""
        parties = groupby(sorted(facts, key=PARTY), key=PARTY)
        return _strongest(
            [self._party(source, event, creates, list(f), later) for _, f in parties]
        )

    def _party(
        self,
        source: Source,
        event: Event,
        new: bool,
        facts: list[Fact],
        later: Later,
    ) -> Receipt:
        party, cause = facts[0].party, f"{event.type} {event.id}"
        # What was read of a source is no news: it takes its turn.
        final = any(f.stamp.final and f.stamp.rank != READ for f in facts)
        job = self._queue.job(party, cause, creates=new, front=final)
        job = job if later is None else NO_JOB
        taken = self._accept.facts(party, source.name, event.id, event.type, facts, job)
        if taken.claim and later is not None:
            push = partial(self._queue.push, party, taken.claim, cause, front=final)
            later.append(partial(push, creates=new and not taken.known))
        return Receipt(taken.receipt, event.id)

    def _quarantined(
        self, source: Source, verified: Verified, event: str | None, reason: str
    ) -> Receipt:
        body = verified.body
        id_ = blake2s(source.name.encode() + b" " + body, digest_size=8).hexdigest()
        self._quarantine.put(id_, source.name, event or "", reason, body)
        return Receipt("quarantined", event, reason)


def _strongest(receipts: list[Receipt]) -> Receipt:
    if len(receipts) == 1:
        return receipts[0]
    if not receipts:
        return Receipt("ignored", None, "it holds nothing that changes an account")
    counts: dict[str, int] = {}
    for one in receipts:
        counts[one.receipt] = counts.get(one.receipt, 0) + 1
    top = max(receipts, key=lambda r: STRENGTH.index(r.receipt))
    return top._replace(counts=counts)


def _words(messages: object, where: str = "") -> str:
    """Marshmallow's messages as one line: `data.object.items.0.price: …`."""
    if isinstance(messages, Mapping):
        inner = (
            _words(said, f"{where}.{key}" if where else str(key))
            for key, said in messages.items()
        )
        return "; ".join(inner)
    said = " ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
    return f"{where}: {said}"
