"""What is read of an account under its lease, and what is said of it in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bridge.domain.account import Party, identify
from bridge.domain.catalogue import Catalogue
from bridge.domain.document import Ledger
from bridge.domain.facts import CATALOGUE, POINTER, source_of
from bridge.domain.fold import Past, State

VACATED = "vacated:"
"""Prefix of the pseudo-party that stands for an account which its last party left."""

NUMBERS = (
    "doubt",
    "stale",
    "confirm_at",
    "tries",
    "since",
    "pace",
    "wrote_at",
    "not_before",
)
"""Fields of an account's hash that are whole numbers."""


class Lease(NamedTuple):
    """The right to write *account*, held for the job of *party*."""

    account: str
    party: str
    fence: int


Catalogues = Mapping[str, Catalogue]
"""Source -> what is known of the things of its catalogue."""


class Member(NamedTuple):
    """One party as it was read: its facts up to revision *read*.

    *nudged* counts how often something that it uses has changed, *learned* how often it
    was read from its source, which adds facts without a revision.
    """

    name: str
    read: int
    past: Past
    things: Mapping[str, State]
    account: str | None
    nudged: int = 0
    learned: int = 0

    @property
    def version(self) -> tuple[int, int, int]:
        """What changes whenever there are facts that were not read yet."""
        return self.read, self.nudged, self.learned

    def party(self, catalogues: Catalogues) -> Party:
        """What the domain calls a party."""
        return Party(self.name, self.things, catalogues.get(source_of(self.name), {}))


class View(NamedTuple):
    """An account under its lease: all its parties and what Vitally has of it.

    *members* are those whose facts say so still; one about to move is not ours to
    settle. *exists*: Vitally is known to have it. *doubt*: whole writes that are owed
    since a write was not confirmed, the last of them from *confirm_at* on; *sent* are
    the traits that it carried. *stale* counts what was sent under leases that were lost. *tries* failed since *since*. Instants in milliseconds.
    """

    account: str
    members: tuple[Member, ...]
    ledger: Ledger
    exists: bool
    sent: tuple[str, ...]
    doubt: int
    stale: int
    confirm_at: int
    tries: int
    since: int
    pace: int
    wrote_at: int
    not_before: int
    now: int
    catalogues: Mapping[str, Mapping[str, Mapping[str, State]]] = {}

    @property
    def parties(self) -> list[Party]:
        """The customers of the account."""
        real = (m for m in self.members if not m.name.startswith(VACATED))
        return [member.party(self.catalogues) for member in real]

    @property
    def owes_whole(self) -> bool:
        """Whether the ledger may be wrong, so that all has to be sent again."""
        confirms = self.doubt == 1 and self.now >= self.confirm_at
        return self.stale > 0 or self.doubt > 1 or confirms

    @property
    def confirm_in(self) -> int:
        """Milliseconds until the last whole write is due; 0: none is owed."""
        return max(1, self.confirm_at - self.now) if self.doubt else 0


class Outcome(NamedTuple):
    """What an acknowledgement says: *to* is settled, held or parked, with *why*."""

    word: str
    to: str = "settled"
    why: str = ""
    ledger: Ledger | None = None
    unset: Sequence[str] = ()
    fields: Mapping[str, str] = {}
    unknown: Mapping[str, str] = {}
    history: Mapping[str, Any] | None = None
    writes: int = 0
    later_ms: int = 0
    known: bool = False
    stale: int = 0


def home(member: Member) -> tuple[str | None, str]:
    """The account a party belongs to by its facts, or None and the reason.

    One that is no customer stands for itself.
    """
    if member.name.startswith((CATALOGUE, POINTER)):
        return member.name, ""
    if member.name.startswith(VACATED):
        return member.name.removeprefix(VACATED), ""
    return identify(member.things)
