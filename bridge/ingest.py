"""The way of a delivery: verify, split, understand, accept, queue; then the 2xx.

Read this file first. Everything before the 2xx happens here, top to bottom:

    bytes ─verify─▶ Verified ─split─▶ Event ─schema─▶ loaded ─facts─▶ [Fact] ─accept─▶
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2s
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from marshmallow import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from bridge.config import mistakes
from bridge.domain.facts import Fact
from bridge.errors import PayloadError
from bridge.queue import Queue
from bridge.settings import Settings
from bridge.sources import OBSERVED
from bridge.store.accept import STRENGTH, Accept, Origin
from bridge.store.lease import Claim
from bridge.store.quarantine import Kept, Quarantine, runs
from bridge.webhook.source import (
    Delivery,
    Event,
    Options,
    Source,
    Verified,
    refused,
)

NOT_READ = Event("", "", 0, {}, "observed")
"""Stands for any delivery of a source that is only observed."""


Jobs = list[tuple[Claim, str, bool]]
"""Jobs to be queued: the arguments of `Queue.push`."""


class Receipt(NamedTuple):
    """What became of a delivery; *counts* by receipt if it had several events."""

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
        self._observed = settings.sources.get(OBSERVED, ())
        self._accept = Accept(redis)
        self._quarantine = Quarantine(redis)
        self._queue = Queue(redis)

    def receive(self, source: Source, delivery: Delivery, now: float) -> Receipt:
        """Take a delivery at *now* (seconds). Raises SignatureError, StorageError.

        An authentic delivery always gets a receipt, whatever its content: sending it
        again would not help.
        """
        return self.take_in(source, source.verify(delivery, self.options, now))

    def take_in(self, source: Source, verified: Verified) -> Receipt:
        """Take in a delivery whose sender is verified. Raises StorageError.

        If the source has `observe = true`, it is not read but kept for `replay`.
        """
        is_observed = source.name in self._observed
        events = [NOT_READ] if is_observed else events_of(source, verified)
        receipts = self._all(source, events, verified.id)
        kept = Kept("", 0, source.name, "", "", verified.body, delivery=verified.id)
        if left := _left(kept, dict(enumerate(receipts)), len(events)):
            # A repeated delivery gets the same id in the quarantine.
            text = source.name.encode() + b" " + verified.body
            name = blake2s(text, digest_size=8).hexdigest()
            refused_ = sum(one.receipt == "quarantined" for one in receipts)
            own = {k: v for k, v in verified.headers.items() if k in source.headers}
            self._quarantine.put(left._replace(id=name, headers=own), refused_)
        return _strongest(receipts)

    def replay(self, source: Source, kept: Kept) -> Receipt:
        """Read the refused part of a quarantined delivery again. Raises StorageError.

        Events that can be read leave the count of the quarantined, refused ones stay,
        and nothing is counted twice.
        """
        self._quarantine.begin()
        events = events_of(source, delivered(kept))
        tried = [n for n in range(len(events)) if kept.holds(n, len(events))]
        receipts = self._all(source, [events[n] for n in tried], kept.delivery, kept.id)
        by_part = dict(zip(tried, receipts, strict=True))
        self._quarantine.again(kept.id, _left(kept, by_part, len(events)))
        return _strongest(receipts)

    def admit(self, source: Source, facts: Sequence[Fact]) -> Receipt:
        """Accept the *facts* that were read from a source's API. Raises StorageError."""
        event = Event(facts[0].event, facts[0].kind, facts[0].stamp.at, {})
        with self._jobs() as jobs:
            return self._store(source, event, facts, Origin(), jobs)

    def _all(
        self, source: Source, events: Sequence[Event], delivery: str, replayed: str = ""
    ) -> list[Receipt]:
        """Take in every event of a delivery; refused events are not stored here."""
        origin = Origin(delivery, replayed)
        receipts: list[Receipt] = []
        ignored: list[tuple[str, str, str]] = []
        with self._jobs() as jobs:
            for event in events:
                facts, receipt = read_event(source, event, self.options)
                if receipt is None:
                    receipt = self._store(source, event, facts, origin, jobs)
                elif receipt.receipt == "ignored":
                    ignored.append((event.id, event.type, receipt.reason or ""))
                receipts.append(receipt)
            self._accept.ignore(source.name, ignored, origin)
        return receipts

    @contextmanager
    def _jobs(self) -> Iterator[Jobs]:
        """Collect the jobs of a delivery's events, and queue them after all of these.

        So none sees only a part. If this fails, nothing is lost: the party's next event or
        the sweeper queues the job.
        """
        jobs: Jobs = []
        try:
            yield jobs
        finally:
            with suppress(RedisError):
                for claim, cause, creates in jobs:
                    self._queue.push(claim, cause, creates=creates)

    def _store(
        self,
        source: Source,
        event: Event,
        facts: Iterable[Fact],
        origin: Origin,
        jobs: Jobs,
    ) -> Receipt:
        """Accept the *facts* of *event*, party by party; add what is to be queued to *jobs*."""
        handler, receipts = source.handler(event.type, self.options), []
        for own in by_party(facts):
            # Backfilled facts queue at the back; only live endings jump the queue.
            ends = any(f.stamp.final and not f.is_read for f in own)
            taken = self._accept.facts(source.name, own, origin, urgent=ends)
            receipts.append(Receipt(taken.receipt, event.id))
            if taken.claim:
                creates = (not handler or handler.creates) and not taken.known
                claim = Claim(own[0].party, taken.claim, origin.delivery, ends)
                jobs.append((claim, f"{event.type} {event.id}", creates))
        return _strongest(receipts)


def read_event(
    source: Source, event: Event, options: Options
) -> tuple[list[Fact], Receipt | None]:
    """Return the facts of *event*, or its receipt if it has none."""
    if event.refusal:
        return [], Receipt("quarantined", event.id or None, event.refusal)
    reason = source.ignores(event, options)
    handler = source.handler(event.type, options)
    if reason is None and handler is None:
        why = source.without_effect.get(event.type)
        reason = f"{event.type} has no effect" + (f": {why}" if why else "")
    if reason is not None or handler is None:
        return [], Receipt("ignored", event.id, reason)
    try:
        loaded = handler.schema.load(event.body)
        facts = list(handler.facts(event, loaded, options))
    except ValidationError as error:
        wrong = [f"{place}: {words}" for place, words in mistakes(error.messages)]
        reason = f"{event.type}: {'; '.join(wrong)}"
        return [], Receipt("quarantined", event.id, reason)
    if not facts:
        reason = "it changes nothing in an account"
        return [], Receipt("ignored", event.id, reason)
    return facts, None


def by_party(facts: Iterable[Fact]) -> list[list[Fact]]:
    """The *facts* of an event, grouped by party."""
    party = attrgetter("party")
    return [list(own) for _, own in groupby(sorted(facts, key=party), key=party)]


def delivered(kept: Kept) -> Verified:
    """The delivery that was *kept*; its sender was verified when it came."""
    path = f"/webhooks/{kept.source}"
    return Verified(Delivery("POST", path, kept.headers, kept.body, kept.delivery))


def events_of(source: Source, verified: Verified) -> list[Event]:
    """The events of a delivery; if it cannot be read at all, one refused event."""
    try:
        return list(source.split(verified))
    except PayloadError as error:
        return [refused(error)]


def _left(kept: Kept, receipts: Mapping[int, Receipt], of: int) -> Kept | None:
    """The delivery *kept*, reduced to the refused ones of its *of* parts; None: none."""
    bad = [part for part, one in receipts.items() if one.receipt == "quarantined"]
    if not bad:
        return None
    first, parts = receipts[bad[0]], runs(bad, of)
    event, reason = first.event or "", first.reason or ""
    return kept._replace(event=event, reason=reason, parts=parts, of=of)


def _strongest(receipts: Sequence[Receipt]) -> Receipt:
    if len(receipts) == 1:
        return receipts[0]
    if not receipts:
        return Receipt("ignored", None, "it contains nothing that changes an account")
    counts = Counter(one.receipt for one in receipts)
    top = max(receipts, key=lambda one: STRENGTH.index(one.receipt))
    return top._replace(counts=counts)
