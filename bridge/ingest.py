"""The story of a delivery: verify, split, understand, accept, queue; then it is ours.

Open this file first. Everything above the 2xx happens here, top to bottom:

    bytes ─verify─▶ Verified ─split─▶ Event ─schema─▶ loaded ─facts─▶ [Fact] ─accept─▶
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2s
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from marshmallow import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from bridge.domain.facts import Fact, Rank
from bridge.errors import PayloadError
from bridge.queue import Queue
from bridge.settings import Settings
from bridge.sources import OBSERVED
from bridge.store.accept import Accept
from bridge.store.quarantine import Kept, Quarantine, runs
from bridge.webhook.source import Delivery, Event, Source, Verified, refused

STRENGTH = ("ignored", "duplicate", "coalesced", "queued", "quarantined")
"""Receipts from the weakest to the strongest; a batch is told its strongest."""

PARTY = attrgetter("party")

UNREAD = Event("", "", 0, {}, "observed")
"""Stands for a delivery of a source that is only observed, whatever is in it."""

Jobs = list[Callable[[], object]]
"""What queues the jobs of a delivery, once the whole of it is stored."""


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
        self._observed = settings.sources.get(OBSERVED, ())
        self._accept = Accept(redis)
        self._quarantine = Quarantine(redis)
        self._queue = Queue(redis)

    def receive(self, source: Source, delivery: Delivery, now: float) -> Receipt:
        """Take a delivery at *now* (seconds). Raises SignatureError, StorageError.

        Whatever the content is, an authentic delivery gets a receipt: sending it
        again could not help.
        """
        return self.take_in(source, source.verify(delivery, self.options, now))

    def take_in(self, source: Source, verified: Verified) -> Receipt:
        """Take the content of a delivery whose sender is proved. Raises StorageError.

        Of a source with `observe = true` it is not read but kept, for `replay`.
        """
        is_observed = source.name in self._observed
        events = [UNREAD] if is_observed else _events(source, verified)
        receipts = self._all(source, events)
        bad = [n for n, one in enumerate(receipts) if one.receipt == "quarantined"]
        if bad:
            first = receipts[bad[0]]
            kept = Kept(
                _digest(source, verified.body),
                0,
                source.name,
                first.event or "",
                first.reason or "",
                verified.body,
                runs(bad, len(events)),
                len(events),
            )
            self._quarantine.put(kept, len(bad))
        return _strongest(receipts)

    def replay(self, source: Source, kept: Kept) -> Receipt:
        """Read a quarantined delivery again: what was refused of it. Raises StorageError.

        Its sender was proved when it came. What is read moves out of the count of the
        quarantined; what is refused again stays, and nothing is counted twice.
        """
        self._quarantine.begin()
        verified = Verified(Delivery("POST", f"/webhooks/{kept.source}", {}, kept.body))
        events = _events(source, verified)
        tried = [n for n in range(len(events)) if kept.holds(n, len(events))]
        receipts = self._all(source, [events[n] for n in tried], kept.id)
        pairs = zip(tried, receipts, strict=True)
        bad = [(n, one) for n, one in pairs if one.receipt == "quarantined"]
        if bad:
            first, of = bad[0][1], len(events)
            kept = kept._replace(
                event=first.event or "",
                reason=first.reason or "",
                parts=runs([n for n, _ in bad], of),
                of=of,
            )
        self._quarantine.again(kept, left=bool(bad))
        return _strongest(receipts)

    def _all(
        self, source: Source, events: Sequence[Event], replayed: str = ""
    ) -> list[Receipt]:
        """Take in every event of a delivery; one that is refused leaves no trace yet."""
        jobs: Jobs = []
        try:
            receipts = [self._event(source, event, jobs, replayed) for event in events]
            pairs = zip(events, receipts, strict=True)
            ignored = [(e.id, e.type) for e, r in pairs if r.receipt == "ignored"]
            self._accept.ignore(source.name, ignored, replayed)
        finally:
            _queue(jobs)
        return receipts

    def _event(
        self, source: Source, event: Event, jobs: Jobs, replayed: str
    ) -> Receipt:
        """Take in what has facts; what is ignored is counted with its siblings."""
        facts, refusal = self.understood(source, event)
        if refusal is not None:
            return refusal
        creates = source.handlers[event.type].creates
        return self._admit(source, event, facts, creates, jobs, replayed)

    def understood(
        self, source: Source, event: Event
    ) -> tuple[list[Fact], Receipt | None]:
        """Return the facts of *event*, or the receipt that it gets without any."""
        if event.refusal:
            return [], Receipt("quarantined", event.id or None, event.refusal)
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
        self, source: Source, event: Event, facts: Iterable[Fact], *, creates: bool
    ) -> Receipt:
        """Accept the *facts* of *event*, party by party. Raises StorageError."""
        jobs: Jobs = []
        try:
            return self._admit(source, event, facts, creates, jobs, "")
        finally:
            _queue(jobs)

    def _admit(  # noqa: PLR0913, PLR0917 - what is said of an event beside its facts
        self,
        source: Source,
        event: Event,
        facts: Iterable[Fact],
        creates: bool,
        jobs: Jobs,
        replayed: str,
    ) -> Receipt:
        cause, receipts = f"{event.type} {event.id}", []
        for party, some in groupby(sorted(facts, key=PARTY), key=PARTY):
            own = list(some)
            taken = self._accept.facts(
                party, source.name, event.id, event.type, own, replayed
            )
            if taken.claim:
                # Backfilled facts queue at the back; only live endings jump the queue.
                front = any(
                    f.stamp.final and f.stamp.rank != Rank.FROM_API for f in own
                )
                push = partial(self._queue.push, party, taken.claim, cause, front=front)
                jobs.append(partial(push, creates=creates and not taken.known))
            receipts.append(Receipt(taken.receipt, event.id))
        return _strongest(receipts)


def _queue(jobs: Jobs) -> None:
    """Queue the jobs of a delivery, after all its events: none sees a part of it.

    What is accepted is ours whatever comes of this: where it fails, the party's next
    event or the sweeper queues the job.
    """
    with suppress(RedisError):
        for push in jobs:
            push()


def _events(source: Source, verified: Verified) -> list[Event]:
    """The events of a delivery; one that cannot be read as a whole is one refusal."""
    try:
        return list(source.split(verified))
    except PayloadError as error:
        return [refused(error)]


def _digest(source: Source, body: bytes) -> str:
    """What a delivery is called in the quarantine: the same whenever it comes again."""
    return blake2s(source.name.encode() + b" " + body, digest_size=8).hexdigest()


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
