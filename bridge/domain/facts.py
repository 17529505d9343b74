"""A fact: a stamped snapshot of one thing of one party, in our own vocabulary."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import NamedTuple

from bridge.domain.values import Value

READ = "read"
"""The kind of a fact from a source's API; its event is `read:` and the time (ms)."""


class Rank(IntEnum):
    """Orders a thing's facts of one instant, earliest first; stored as a number.

    A source may use other numbers, between these or above (Chargebee: from 10).
    """

    CREATED = 0
    NOTICE = 1
    """Something is about to happen, or did not happen after all."""
    UPDATED = 2
    SWITCHED = 3
    """Paused or resumed."""
    DELETED = 4
    FROM_API = 9
    """Read from the source's API: it includes everything up to its instant. (Chargebee
    ranks what was read among the events of its version: ask `Fact.is_read`.)"""


class PartyKind(StrEnum):
    """The kinds of parties: a customer of its source, or one of four others."""

    CUSTOMER = "customer"
    CATALOGUE = "catalogue"
    """A thing that many customers use: a coupon, a price, a product."""
    POINTER = "pointer"
    """A thing that changed and whose customer only the source's API knows."""
    VACATED = "vacated"
    """An account that its last party left."""
    ORGANIZATION = "organization"
    """An organization: its party has the name of its account and no facts of its own."""


STAND_INS = frozenset({PartyKind.VACATED, PartyKind.ORGANIZATION})
"""The kinds that stand for an account, and have no facts."""


class PartyName(NamedTuple):
    """The parts of a party's name: `stripe:cus_1`, `catalogue:stripe:coupon:half`.

    VACATED and ORGANIZATION have no *source*; the *id* is the account's, or that of the
    organization.
    """

    kind: PartyKind
    source: str
    id: str

    @classmethod
    @lru_cache(1000)  # a fold asks many times for the same
    def parse(cls, party: str) -> PartyName:
        """Take the name of a *party* apart."""
        first, _, rest = party.partition(":")
        if first in STAND_INS:
            return cls(PartyKind(first), "", rest)
        if first in {PartyKind.CATALOGUE, PartyKind.POINTER}:
            source, _, id_ = rest.partition(":")
            return cls(PartyKind(first), source, id_)
        return cls(PartyKind.CUSTOMER, first, rest)


def kind_of(party: str) -> PartyKind:
    """What a *party* stands for."""
    return PartyName.parse(party).kind


def source_of(party: str) -> str:
    """The source that a *party* belongs to."""
    return PartyName.parse(party).source


def catalogue(source: str, thing: str) -> str:
    """Name the party of a *thing* of the source that belongs to no customer."""
    return f"{PartyKind.CATALOGUE}:{source}:{thing}"


def pointer(source: str, thing: str) -> str:
    """Name the party of a *thing* that must be read to find its customer."""
    return f"{PartyKind.POINTER}:{source}:{thing}"


def vacated(account: str) -> str:
    """Name the party that stands for an *account* which its last party left."""
    return f"{PartyKind.VACATED}:{account}"


def organization(id_: str) -> str:
    """Name the account, and the party, that an organization is here, by its external id."""
    return f"{PartyKind.ORGANIZATION}:{id_}"


def organization_id(account: str) -> str:
    """The external id of the organization that *account* is; "" for a plain account."""
    kind, _, id_ = account.partition(":")
    return id_ if kind == PartyKind.ORGANIZATION else ""


class Stamp(NamedTuple):
    """When a fact became true by the source's clock, never ours, with tie-breaks.

    Compares as a tuple: a final snapshot beats all others, then the later instant
    (*at*, milliseconds), then the rank of the event's type.
    """

    final: bool
    at: int
    rank: int


class Fact(NamedTuple):
    """One snapshot of a thing of a party, from one event.

    *thing* is `customer` or `subscription:sub_1`, *party* `stripe:cus_1`, *event* the
    source's id and *kind* its type.
    *after* is a digest of the snapshot, *before* of the state that the event says it
    replaced (None: it does not say); together they form the chain that orders events of
    one instant. An event may come in several renderings with the same *after*;
    *rendering* names each one except the first that came.
    """

    party: str
    thing: str
    stamp: Stamp
    event: str
    kind: str
    value: Value
    after: str
    before: str | None = None
    rendering: str = ""

    @property
    def key(self) -> tuple[Stamp, str, str, str, str]:
        """The total order that is used where no chain decides."""
        return self.stamp, self.event, self.kind, self.after, self.before or ""

    @property
    def is_read(self) -> bool:
        """Whether it was read from the source's API."""
        is_named = self.kind == READ and self.event.startswith(READ + ":")
        return is_named or self.stamp.rank == Rank.FROM_API
