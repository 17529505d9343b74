"""An account as a job reads it under its lease, and the outcome that the job stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bridge.domain.account import Party, identify
from bridge.domain.catalogue import Catalogue
from bridge.domain.document import Ledger
from bridge.domain.facts import STAND_INS, kind_of, organization_id, source_of
from bridge.domain.fold import History, State

NUMBERS = (
    *("confirm_at", "tries", "since", "pace", "wrote_at", "not_before", "released"),
    *("objects_due", "joined"),
)
"""Fields of `View` that the account's record has under the same name."""

ABSENT_MS = 600_000
"""How long an account that a reading did not show is taken to be not there."""


MOST_DELIVERIES = 20
"""Most ids of deliveries in a line of a log or of an account's history."""


class Lease(NamedTuple):
    """The right to write *account*, held for the job of *party*.

    For a party without an account (""), there is nothing to check or give back.
    """

    account: str
    party: str
    fence: int


Catalogues = Mapping[str, Catalogue]
"""Source -> the known things of its catalogue."""


class Member(NamedTuple):
    """One party as it was read: its facts up to revision *read*.

    *catalogue_revision* counts the changes of the catalogue's things that it uses.
    *deliveries*: how many are not settled, and the ids of the last ones.
    """

    name: str
    read: int
    history: History
    things: Mapping[str, State]
    catalogue_revision: int = 0
    deliveries: str = ""

    @property
    def stands_in(self) -> bool:
        """Whether it stands for an organization, or for an account that all have left."""
        return kind_of(self.name) in STAND_INS

    @property
    def organization(self) -> str:
        """The organization that its account belongs to; "": none."""
        return identify(self.things).organization

    def party(self, catalogues: Catalogues, read_for: str = "") -> Party:
        """What the domain calls a party; *read_for*: its account, or the organization's."""
        catalogue, account = catalogues.get(source_of(self.name), {}), ""
        if organization_id(read_for):
            own = identify(self.things).account or self.name
            account = "" if own == read_for else own
        return Party(self.name, self.things, catalogue, account)


class View(NamedTuple):
    """An account as it was read under its lease: its parties, and what Vitally has.

    *own* is the party whose job it is. *members* are the parties whose facts still name
    the account; one about to move is not settled here. Without an account, *own* is the
    only member. *children* are the parties of the accounts of an organization, which are
    only read. *organizations* maps those that parties name to Vitally's own id of them ("":
    not known); None: Vitally is not known to have it.
    *written*: we have written the account. *unconfirmed_writes*: whole writes
    that are owed since a write was not confirmed, the last of them from *confirm_at* on;
    *unconfirmed_traits* are what it carried. *lost_lease_writes* counts what was sent
    under leases that were lost. *tries* failed since *since*. *listed_at* is when the
    last reading of all accounts began (0: none did); *dirty_since*: since when an event
    is not settled (0: none waits). Instants in milliseconds.

    *objects* is the digest of all instances of custom objects once they are sent ("": there
    are none; "-": not yet). The next step for them is due at *objects_due*; 0: none is owed.
    *joined*: a party came from another account (1); *left* went to another one.
    """

    lease: Lease
    own: Member
    members: tuple[Member, ...]
    ledger: Ledger
    written: bool
    unconfirmed_traits: tuple[str, ...]
    unconfirmed_writes: int
    lost_lease_writes: int
    confirm_at: int
    tries: int
    since: int
    pace: int
    wrote_at: int
    not_before: int
    now: int
    listed_at: int = 0
    dirty_since: int = 0
    released: int = 0
    objects: str = ""
    objects_due: int = 0
    joined: int = 0
    left: str = ""
    catalogues: Mapping[str, Catalogue] = {}
    children: tuple[Member, ...] = ()
    organizations: Mapping[str, str | None] = {}

    @property
    def account(self) -> str:
        """The account that is read; "" none is known."""
        return self.lease.account

    @property
    def parties(self) -> list[Party]:
        """The customers of the account, or of all accounts of the organization."""
        real = (*self.customers, *self.children)
        return [member.party(self.catalogues, self.account) for member in real]

    @property
    def customers(self) -> list[Member]:
        """The members that do not stand in for anything."""
        return [member for member in self.members if not member.stands_in]

    @property
    def deliveries(self) -> list[str]:
        """Ids of the last deliveries that are not settled, the job's own party first."""
        members = {self.own.name: self.own} | {m.name: m for m in self.members}
        return delivery_ids(member.deliveries for member in members.values())

    @property
    def exists(self) -> bool:
        """Whether Vitally is known to have the account."""
        return not self.ledger.missing and (self.written or self.ledger.read_at > 0)

    @property
    def was_not_there(self) -> bool:
        """Whether the last reading did not show the account."""
        is_ours = self.written or self.unconfirmed_writes > 0
        was_listed = self.listed_at == 0 or is_ours or self.exists
        return self.ledger.missing or not was_listed

    @property
    def is_absent(self) -> bool:
        """Whether a reading of the last ten minutes did not show the account."""
        is_recent = self.now - max(self.ledger.read_at, self.listed_at) < ABSENT_MS
        return is_recent and self.was_not_there

    @property
    def is_vacant(self) -> bool:
        """Whether its last party has left it."""
        return not self.customers and not self.children

    @property
    def owes_whole(self) -> bool:
        """Whether the ledger may be wrong, so that the whole document must be sent again."""
        confirms = self.unconfirmed_writes == 1 and self.now >= self.confirm_at
        return self.lost_lease_writes > 0 or self.unconfirmed_writes > 1 or confirms

    @property
    def confirm_in(self) -> int:
        """Milliseconds until the last whole write is due; 0: none is owed."""
        return max(1, self.confirm_at - self.now) if self.unconfirmed_writes else 0


def delivery_ids(texts: Iterable[str]) -> list[str]:
    """The ids in what the scripts keep of parties' deliveries; not too many."""
    ids = (id_ for text in texts for id_ in text.split()[1:])
    return [*dict.fromkeys(ids)][:MOST_DELIVERIES]


class Wait(NamedTuple):
    """Why a job was not done now: the *word* that is counted ("": none), and *why*.

    Its account keeps *fields*, and *row* in the index ("": as it is); with a row, why
    traits are *unknown*, of its *members* whether they are incomplete, and *joins* as in
    `Outcome`.
    """

    word: str = "retried"
    why: str = ""
    fields: Mapping[str, str] = {}
    row: str = ""
    unknown: Mapping[str, str] = {}
    members: Mapping[str, bool] = {}
    joins: Mapping[str, str] = {}


RETRIED = Wait()


class Outcome(NamedTuple):
    """The outcome of a job: the state *to* (settled, held or parked) and *why*.

    *joins*: `organization`, where the account counts ("": nowhere; absent: as so far), and
    `shared`, a digest of what it counts with there.
    """

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
    mass: bool = False
    joins: Mapping[str, str] = {}
