"""What Vitally was last seen to have: read for a plan, and noted by a reconciliation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from redis import Redis

from bridge.domain.document import Ledger
from bridge.domain.facts import (
    STAND_INS,
    PartyKind,
    kind_of,
    organization,
    organization_id,
)
from bridge.store import keys
from bridge.store.connect import Store, batches, each, milliseconds, named
from bridge.store.lease import Leases, home, read_ledger
from bridge.store.view import View

BATCH = 200
"""Accounts that are read in one step."""

SOON_MS = 60_000
"""A party whose next look is due within this time may be one that has changed."""

OF_ACCOUNTS = STAND_INS | {PartyKind.CUSTOMER}
"""Kinds of parties that belong to an account of Vitally's."""

STRANGER_DAYS = 7
"""How long what was seen of an account is kept that no party has."""


class Seen(NamedTuple):
    """Where Vitally's *traits* of an account differ from its *ledger* (the stored text).

    *drifted*: somebody else has changed or deleted what the bridge wrote.
    """

    account: str
    ledger: str
    traits: Mapping[str, Any]
    missing: bool = False
    drifted: bool = False

    def text(self, at: int) -> str:
        """As an account's record keeps what a reading *at* (ms) showed."""
        return orjson.dumps([self.traits, at, self.missing]).decode()


class Shadow(Store):
    """What is known of Vitally's accounts."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._leases = Leases(redis)

    def accounts(self) -> set[str]:
        """Every account that has parties, organizations too."""
        return named(self._redis, keys.members("")) | self.organizations()

    def organizations(self) -> set[str]:
        """Every organization that accounts belong to."""
        return {organization(of) for of in named(self._redis, keys.children(""))}

    def unclaimed(self) -> list[str]:
        """The organizations that accounts belong to and of which no job is on its way."""
        names = sorted(self.organizations())
        claims = each(self._redis, "hget", map(keys.party, names), "claim")
        pairs = zip(names, claims, strict=True)
        return [name for name, claim in pairs if claim not in {b"queued", b"wanted"}]

    def unsettled(self) -> dict[str, str | None]:
        """Party that may have changed since its last job -> its account so far.

        A party may have changed if it is dirty, held, parked or soon due, or uses a thing
        of a catalogue that is.
        """
        with self._redis.pipeline(transaction=False) as pipe:
            for key in (keys.DIRTY, keys.HELD, keys.PARKED):
                pipe.zrange(key, 0, -1)
            pipe.zrangebyscore(keys.LATER, "-inf", self.now() + SOON_MS)
            names = {raw.decode() for reply in pipe.execute() for raw in reply}
            for thing in names:
                if kind_of(thing) == PartyKind.CATALOGUE:
                    pipe.smembers(keys.uses(thing))
            names |= {raw.decode() for reply in pipe.execute() for raw in reply}
        parties = sorted(name for name in names if kind_of(name) in OF_ACCOUNTS)
        replies = each(self._redis, "hget", map(keys.party, parties), "account")
        so_far = (raw.decode() if raw else None for raw in replies)
        return dict(zip(parties, so_far, strict=True))

    def homes(self, parties: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield each of *parties* and its account, where its facts name one."""
        for names in batches(parties, BATCH):
            for member in self._leases.members(names):
                if (account := home(member)[0]) is not None:
                    yield member.name, account

    def at_rest(self, accounts: Sequence[str], rules: str) -> dict[str, Ledger]:
        """The ledgers of those *accounts* that need no write; no party may be unsettled.

        The last job settled such an account by these *rules*, and no reading has shown a
        difference since.
        """
        rows = self._records(accounts, "rules", "doubt", "stale", "ledger", "seen")
        found = {}
        for name, (by, doubt, stale, *texts) in zip(accounts, rows, strict=True):
            if by == rules.encode() and not int(doubt or 0) and not int(stale or 0):
                ledger = read_ledger(*texts)
                if not ledger.seen and not ledger.missing:
                    found[name] = ledger
        return found

    def party_of_each(self, accounts: Sequence[str]) -> list[str]:
        """One party of each of *accounts* that has any; an organization has its own."""
        found = each(self._redis, "srandmember", map(keys.members, accounts))
        own = [raw.decode() for raw in found if raw]
        return own + [name for name in accounts if organization_id(name)]

    def views(self, accounts: Mapping[str, Sequence[str]]) -> Iterator[View]:
        """Read *accounts*, many at a time, each with parties that may belong to it too."""
        for some in batches(accounts.items(), BATCH):
            yield from self._leases.peek([(*one, None) for one in some])

    def regrouped(
        self, shall: Mapping[str, str], joined: Mapping[str, Sequence[str]]
    ) -> Iterator[View]:
        """Read each organization that has or gets some account of *shall*, as it will be.

        *shall* maps accounts to the organizations ("": none) that they will have. *joined*
        are parties about to belong to accounts, and to organizations, which are read too.
        """
        rows = self._records([*shall], "organization")
        so_far = {(raw or b"").decode() for (raw,) in rows}
        heads = {organization_id(name) for name in joined}
        for of in sorted({*shall.values(), *so_far, *heads} - {""}):
            raw = self._redis.smembers(keys.children(of))
            stay = {name.decode() for name in raw} - shall.keys()
            children = stay | {name for name, its in shall.items() if its == of}
            own = [organization(of), *joined.get(organization(of), ())]
            some = [(name, joined.get(name, ())) for name in sorted(children)]
            yield from self._leases.peek([(organization(of), own, some)])

    def ledgers(self, accounts: Sequence[str]) -> list[tuple[str, Ledger]]:
        """Return the ledger of each account, and its text."""
        rows = self._records(accounts, "ledger", "seen")
        return [((row[0] or b"").decode(), read_ledger(*row)) for row in rows]

    def known(self) -> Iterator[tuple[str, str, Ledger]]:
        """Yield every account that was written or seen: its ledger as text, and read."""
        for some in batches(named(self._redis, keys.account("")), BATCH):
            for name, (text, ledger) in zip(some, self.ledgers(some), strict=True):
                yield name, text, ledger

    def resting(self, accounts: Sequence[str], ms: int) -> dict[str, Ledger]:
        """The ledgers of those of *accounts* that were written, the last time so long ago."""
        rows = self._records(accounts, "wrote_at", "doubt", "ledger", "seen")
        since = self.now() - ms
        return {
            name: read_ledger(*texts)
            for name, (at, doubt, *texts) in zip(accounts, rows, strict=True)
            if 0 < int(at or 0) < since and not int(doubt or 0)
        }

    def drifted(self) -> Iterator[tuple[str, Ledger]]:
        """Yield the accounts that the last reading showed changed by others."""
        names = sorted(raw.decode() for raw in self._redis.smembers(keys.DRIFT))
        for some in batches(names, BATCH):
            ledgers = (ledger for _, ledger in self.ledgers(some))
            yield from zip(some, ledgers, strict=True)

    def unseen(self, since: int) -> tuple[int, list[str]]:
        """How many accounts we wrote, and which of them no one read or wrote *since* (ms)."""
        ours, absent = 0, []
        for some in batches(named(self._redis, keys.account("")), BATCH):
            rows = self._records(some, "ledger", "seen", "wrote_at")
            for name, (ledger, seen, wrote_at) in zip(some, rows, strict=True):
                ours += ledger is not None
                last = max(read_ledger(None, seen).read_at, int(wrote_at or 0))
                if ledger is not None and last < since:
                    absent.append(name)
        return ours, absent

    def without_party(self, accounts: Sequence[str]) -> list[str]:
        """Return those of *accounts* that no party has."""
        rows = each(self._redis, "exists", map(keys.members, accounts))
        left = [name for name, has in zip(accounts, rows, strict=True) if not has]
        return sorted({*left} - self.organizations())

    def note(self, at: int, seen: Iterable[Seen]) -> int:
        """Note what a reading that began *at* (ms) showed; how many were noted.

        What was written since, or is being written, is left as it is; a job that has
        begun and writes nothing leaves what is noted now to the next one.
        """
        rows = [(one.account, one.ledger, one.text(at), one.drifted) for one in seen]
        if not rows:
            return 0
        return int(self._run("see", at, orjson.dumps(rows), STRANGER_DAYS * 86_400))

    def now(self) -> int:
        """Redis' own clock, in milliseconds."""
        return milliseconds(self._redis)

    def _records(self, accounts: Sequence[str], *fields: str) -> list[Any]:
        """The *fields* of the record of each of *accounts*."""
        return each(self._redis, "hmget", map(keys.account, accounts), fields)
