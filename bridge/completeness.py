"""Compares what a source says happened with what was taken in, and takes in what is missing.

A webhook may never come: an endpoint was off, its secret was wrong, the sender gave up, or
Redis lost its last seconds with its machine. The source's own list shows it all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import orjson
from redis import Redis

from bridge.domain.facts import Fact
from bridge.domain.fold import History, fold
from bridge.domain.refresh import is_overtaken, restamped
from bridge.domain.values import REFRESHED, VOID
from bridge.errors import PayloadError, SourceUnreadError
from bridge.ingest import Ingress, by_party, read_event
from bridge.settings import Settings
from bridge.sources import listed
from bridge.store.accept import Accept
from bridge.store.lease import Leases
from bridge.store.quarantine import Quarantine
from bridge.store.view import Member
from bridge.webhook.source import (
    Archive,
    Delivery,
    Event,
    Source,
    SourceChange,
    Verified,
)

SEEN, MISSING, TAKEN = "seen before", "missing", "taken in"
IGNORED, QUARANTINED = "ignored", "quarantined"
FORGOTTEN = "too old to tell"
"""Taken in; it may have been before, but the ring remembers only the last events."""
FILLED = "filled in"
"""Taken in, of a party of which not everything was known."""
STRANGE = "unknown customer"
"""Of a party that the bridge has never heard of: that is for a backfill."""

NOTHING = {"status": VOID}
"""The value of a subscription that is none: nobody misses it."""

NEWS = (MISSING, TAKEN, QUARANTINED)
"""The words for what never came."""


class Verdict(NamedTuple):
    """What was found out about a change: *word*; it happened *at* (ms)."""

    at: int
    word: str
    type: str
    event: str


class Comparison:
    """Compares the list of *source*, which *archive* reads."""

    def __init__(
        self, settings: Settings, redis: Redis, source: Source, archive: Archive
    ) -> None:
        self.source, self.archive = source, archive
        self._ingress = Ingress(settings, redis, [source])
        self._accept, self._leases = Accept(redis), Leases(redis)
        self._quarantine = Quarantine(redis)

    def page(
        self, span: tuple[int, int], after: str, first: int, *, take: bool = True
    ) -> tuple[list[Verdict], str]:
        """Compare a page of what happened in a *span* (ms): verdicts, next place.

        A party that began after *first* (ms) must be known. Takes in what is missing,
        unless *take* is False. Raises SourceError, StorageError, redis' own errors.
        """
        page = self.archive.changes(*span, after)
        if page.after == after != "":
            raise SourceUnreadError("its list does not go on")
        events = [change for change in page.rows if change.body is not None]
        states = [change for change in page.rows if change.facts]
        found = [*self._events(events, take), *self._states(states, first, take)]
        return found, page.after

    def _events(self, changes: Sequence[SourceChange], take: bool) -> Iterator[Verdict]:
        """Compare events with those that the ring remembers, in one round trip."""
        read = [self._read(change) for change in changes]
        unread = [event for _, event, word, _ in read if word == QUARANTINED]
        known = self._known(unread)
        parties = [by_party(facts) for *_, facts in read]
        flat = [own for each in parties for own in each]
        seen, oldest = self._accept.seen(self.source.name, flat)
        flags = iter(seen)
        rows = zip(changes, read, parties, strict=True)
        for change, (verified, event, refused, facts), own in rows:
            is_seen = all(list(islice(flags, len(own))))
            if refused == QUARANTINED:
                is_seen = event.id in known  # it has no facts
            word = refused
            if is_seen and refused != IGNORED:
                word = SEEN
            elif not refused:
                word = FORGOTTEN if change.at < oldest else self._missed(facts)
            if take and word not in {SEEN, IGNORED}:
                word = self._taken(verified, word)
            yield Verdict(change.at, word, event.type, event.id)

    def _read(
        self, change: SourceChange
    ) -> tuple[Verified, Event, str, Sequence[Fact]]:
        """An event of the list; its word, if it has no facts."""
        # We asked the API ourselves, so no signature has to be checked.
        path, nobody = f"/webhooks/{self.source.name}", Event("", "", change.at, {})
        try:
            verified = Verified(Delivery("POST", path, {}, orjson.dumps(change.body)))
        except TypeError:  # too deep: it is kept as nothing, and holds up no other
            return Verified(Delivery("POST", path, {}, b"")), nobody, QUARANTINED, []
        try:
            (event,) = self.source.split(verified)
        except PayloadError as error:
            event = nobody._replace(id=error.event or "")
            return verified, event, QUARANTINED, []
        facts, refusal = read_event(self.source, event, self._ingress.options)
        return verified, event, refusal.receipt if refusal else "", facts

    def _known(self, refused: Sequence[Event]) -> set[str]:
        """Ids of those events that the quarantine has, as their webhooks brought them."""
        ids = [event.id for event in refused if event.id]
        named = [(self.source.name, id_) for id_ in ids]
        kept = [one for one, _ in self._quarantine.about(named)] if ids else []
        return {id_ for id_ in ids if any(id_.encode() in one.body for one in kept)}

    def _missed(self, facts: Sequence[Fact]) -> str:
        """Whether an event is missing that the ring does not remember.

        Not if all its parties were read from the API later: an event without content
        (Stripe's thin ones) has another id, and so has what it led to.
        """
        members = self._leases.members(list({fact.party for fact in facts}))
        read = [member.things.get(REFRESHED) for member in members]
        at = max(fact.stamp.at for fact in facts)
        is_covered = all(one and one.fact.stamp.at >= at for one in read)
        return FILLED if is_covered else MISSING

    def _taken(self, verified: Verified, was: str) -> str:
        receipt = self._ingress.take_in(self.source, verified).receipt
        if receipt == "duplicate":  # its webhook came in the meantime
            return SEEN
        return TAKEN if was == MISSING and receipt != QUARANTINED else was

    def _states(
        self, changes: Sequence[SourceChange], first: int, take: bool
    ) -> Iterator[Verdict]:
        """Compare what parties are now with what is known of them."""
        names = [change.facts[0].party for change in changes]
        members = self._leases.members(names) if names else []
        for change, member in zip(changes, members, strict=True):
            known = member.party({})
            facts, word = restamped(change.facts, known), SEEN
            if not is_overtaken(change.facts, known):
                word = _difference(facts, member, is_new=change.born >= first)
            if take and word in {MISSING, FILLED}:
                self._ingress.admit(self.source, facts)
                word = TAKEN if word == MISSING else word
            yield Verdict(change.at, word, "changed", member.name)


def _difference(facts: Sequence[Fact], member: Member, *, is_new: bool) -> str:
    """Whether *facts* say more than what is known of their party."""
    known = member.history
    if not member.things:
        return MISSING if is_new else STRANGE
    now = fold(History([*known.facts, *facts], known.retained))
    had = {thing: state.value for thing, state in member.things.items()}
    now.pop(REFRESHED, None)
    if all(had.get(thing, NOTHING) == state.value for thing, state in now.items()):
        return SEEN
    # Of a party that was never read whole, webhooks have told only a part; and one that
    # was merged into another has no webhooks of its own.
    is_whole = REFRESHED in member.things
    is_merged = any("into" in fact.value for fact in facts)
    return MISSING if is_whole and not is_merged else FILLED


def comparisons(settings: Settings, redis: Redis) -> list[Comparison]:
    """One for each source whose own list can be read."""
    return [
        Comparison(settings, redis, source, archive)
        for source in listed(settings.sources)
        if source.archive and (archive := source.archive(settings.sources))
    ]
