"""Reading a party from its source where its events do not tell enough.

At most once for a party and batch of events, under a lease of the party's own; a
failure falls back to what is known and is tried again later.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from redis import Redis

from bridge.domain.catalogue import ENDED, SUBSCRIPTION, VOID
from bridge.domain.facts import (
    CATALOGUE,
    POINTER,
    READ,
    READING,
    THIN,
    Fact,
    source_of,
)
from bridge.domain.merged import INTO
from bridge.domain.policy import Policy
from bridge.domain.unread import answered, asks_again, why_read
from bridge.errors import LostLeaseError, SourceError
from bridge.log import fields
from bridge.queue import Queue
from bridge.store.catalogue import used
from bridge.store.lease import Leases
from bridge.store.reads import Reads
from bridge.store.view import Lease, Member
from bridge.webhook.source import Reader
from workers import retry
from workers.heart import Hand

log = logging.getLogger("workers.read")


class Looked(NamedTuple):
    """A party after the look: read again in *later_ms* (0: no need).

    *busy*: another worker reads it just now, and will have it looked at again.
    """

    member: Member
    later_ms: int = 0
    busy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rereads:
    """Reads parties of the sources that have a reader."""

    redis: Redis
    leases: Leases
    reads: Reads
    queue: Queue
    hand: Hand
    policy: Policy
    readers: Mapping[str, Reader] = field(default_factory=dict)

    def look(self, member: Member) -> Looked:
        """Read *member* from its source where that is needed."""
        reader = self.readers.get(source_of(member.name))
        if reader is None or member.name.startswith((CATALOGUE, POINTER)):
            return Looked(member)
        catalogues = used(self.redis, [member])
        party = member.party(catalogues)
        reason = why_read(party, self.policy, self.reads.now())
        if reason is None:
            return Looked(member)
        wait = self.reads.wait(member.name)
        if wait:
            return Looked(member, wait)
        if not self.reads.may(source_of(member.name)):
            return Looked(member, retry.CROWDED_MS)
        lease = self.leases.take(member.name, member.name)
        if lease is None:
            return Looked(member, busy=True)
        log.info("read", extra=fields(party=member.name, reason=reason))
        return self._read(lease, member, reader)

    def _read(self, lease: Lease, member: Member, reader: Reader) -> Looked:
        self.hand.take(lease)
        try:
            self.reads.learn(lease, restamped(_known(reader, member), member))
        except SourceError as error:
            delay = retry.after_reading(error.retry_after, refused=error.refused)
            self.reads.failed(member.name, delay)
            told = fields(party=member.name, reason=error.reason)
            log.log(
                logging.ERROR if error.refused else logging.WARNING, "read", extra=told
            )
            return Looked(member, delay)
        except LostLeaseError:
            return Looked(member, busy=True)
        finally:
            self.hand.drop()
            self.queue.push_all(self.leases.leave(lease), "came meanwhile")
        member = self.leases.members([member.name])[0]
        late = asks_again(member.party({}))
        return Looked(member, late + retry.SECOND_MS if late else 0)


def _known(reader: Reader, member: Member) -> Sequence[Fact]:
    facts = reader.party(member.name)
    if not facts:
        raise SourceError("its source does not know it", refused=True)
    return facts


def restamped(facts: Sequence[Fact], member: Member) -> list[Fact]:
    """The *facts* of a reading, later than all readings before it.

    The clock of HTTP has whole seconds; two readings within one are ordered by the
    milliseconds that no event of the source uses. An end for ever that was known before
    is in the reading.
    """
    before = member.things.get(READING)
    last = before.fact.stamp.at if before else 0
    made: list[Fact] = []
    for fact in facts:
        at = max(fact.stamp.at, last + 1, _ended(fact, member))
        value = fact.value
        if fact.thing == READING:
            # What came after the instant of the reading may not be in it.
            value = {**value, THIN: min(answered(member.party({})), at)}
        stamp = fact.stamp._replace(at=at)
        made.append(fact._replace(stamp=stamp, event=f"read:{at}", value=value))
    return [*made, *_missing(made, member)]


def _ended(fact: Fact, member: Member) -> int:
    """When the thing of a final *fact* was known to have ended (ms); 0: it was not."""
    state = member.things.get(fact.thing)
    is_known = state is not None and state.fact.stamp.final
    return state.fact.stamp.at if state and is_known and fact.stamp.final else 0


def _missing(made: Sequence[Fact], member: Member) -> Iterator[Fact]:
    """Void the subscriptions that a reading told once, and this one does not.

    Of one that became another's the reading tells no more than that.
    """
    if any(INTO in fact.value for fact in made):
        return
    told = {fact.thing for fact in made}
    stamp = made[0].stamp._replace(final=False)
    for thing, state in member.things.items():
        was_read = thing.startswith(SUBSCRIPTION) and state.fact.stamp.rank == READ
        if was_read and thing not in told and state.value["status"] not in ENDED:
            value = {"status": VOID}
            yield made[0]._replace(thing=thing, stamp=stamp, value=value, after=VOID)
