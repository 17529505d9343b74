"""What a fact is: a stamped snapshot of one thing of one party, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

Value = Mapping[str, Any]
"""A small normalised snapshot, JSON types only; money in minor units, instants in
milliseconds since the epoch (UTC)."""


MOST = 2**53
"""Bound of every number in a fact or a trait, either way: whole numbers up to it are kept
exactly by every reader of JSON."""

LONGEST = 2000
"""Characters of a text that is a trait."""


class Rank(IntEnum):
    """Which of a thing's facts of one instant is the later one; stored as a number.

    A source may have others between these, or above (Chargebee counts on from 10).
    """

    CREATED = 0
    NOTICE = 1
    """Something is about to happen, or came to nothing."""
    UPDATED = 2
    SWITCHED = 3
    """Paused or resumed."""
    DELETED = 4
    FROM_API = 9
    """Read from the source's own API: all that happened up to its instant is in it."""


POINTER, CATALOGUE = "pointer:", "catalogue:"
"""Beginnings of parties that are no customer: something whose owner only the source
can tell, and something that many customers use (a coupon, a price, a product)."""


TO_REFRESH, REFRESHED = "thin", "read"
"""Things of a party that say that its source has to be asked, and when it was."""

REFRESH_TWICE = "twice"
"""Of a notice without content: a refresh in its own second is followed by another."""


def pointer(source: str, thing: str) -> str:
    """Name the party of a *thing* that has to be read to know whose it is."""
    return f"{POINTER}{source}:{thing}"


def catalogue(source: str, thing: str) -> str:
    """Name the party of a *thing* of the source that belongs to no customer."""
    return f"{CATALOGUE}{source}:{thing}"


def shortened(text: str, most: int = LONGEST) -> str:
    """*text*, or what of it *most* characters hold, the last of them `…`."""
    return text if len(text) <= most else text[: most - 1] + "…"


def source_of(party: str) -> str:
    """The source that a party belongs to."""
    for prefix in (POINTER, CATALOGUE):
        party = party.removeprefix(prefix)
    return party.partition(":")[0]


class Stamp(NamedTuple):
    """When the *source* says a fact became true, with its tie-breaks; never our clock.

    Compares as a tuple: a final snapshot beats all others, then the later instant
    (*at*, milliseconds), then the rank of the event's type.
    """

    final: bool
    at: int
    rank: int


class Fact(NamedTuple):
    """One snapshot of a thing of a party, told by one event.

    *thing* is `customer` or `subscription:sub_1`, *party* `stripe:cus_1`, *event* the
    source's id and *kind* its type.
    *after* is a digest of the snapshot, *before* of the state that the event says
    it replaced (None where it does not say): the chain that orders events of one
    instant. An event may be told in several renderings, whose *after* is the same;
    *rendering* names all but the first that came.
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
