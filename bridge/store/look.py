"""Looking without touching: parties, accounts and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from redis import Redis

from bridge.domain.account import Party
from bridge.domain.document import Ledger, from_json
from bridge.store import keys
from bridge.store.catalogue import used
from bridge.store.lease import Leases
from bridge.store.view import VACATED, Catalogues, Member


class Standing(NamedTuple):
    """How much of what a party was told is settled; *why* it is held or parked."""

    party: str
    account: str | None
    rev: int
    settled: int
    held: int
    parked: int
    why: str

    @property
    def pending(self) -> int:
        """Events that are accepted and neither settled nor held nor parked."""
        return self.rev - self.settled - self.held - self.parked


class Record(NamedTuple):
    """All that is kept of one account; *tries* failed, *doubt*: see the lease."""

    account: str
    members: Sequence[Member]
    standings: Sequence[Standing]
    ledger: Ledger
    written: bool
    tries: int
    unknown: Mapping[str, str]
    incomplete: Sequence[str]
    history: Sequence[Mapping[str, Any]]
    catalogues: Catalogues

    @property
    def parties(self) -> list[Party]:
        """What the domain calls the parties."""
        return [member.party(self.catalogues) for member in self.members]


class Look:
    """Reads the state; raises redis' own errors."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._leases = Leases(redis)

    def standing(self, party: str) -> Standing | None:
        """Return how a party stands, None where it was never heard of."""
        names = ("account", "rev", "settled", "held", "parked", "why")
        row = self._redis.hmget(keys.party(party), *names)
        if row[1] is None:
            return self._vacated(party)
        account, why = (raw.decode() if raw else "" for raw in (row[0], row[-1]))
        rev, settled, held, parked = (int(raw or 0) for raw in row[1:-1])
        return Standing(party, account or None, rev, settled, held, parked, why)

    def _vacated(self, party: str) -> Standing | None:
        """An account that its last party left, where Vitally refuses the removal."""
        if self._redis.zscore(keys.PARKED, party) is None:
            return None
        account = party.removeprefix(VACATED)
        return Standing(party, account, 0, 0, 0, 0, "its traits cannot be removed")

    def member(self, party: str) -> Member:
        """Read one party's facts."""
        return self._leases.members([party])[0]

    def members_of(self, account: str) -> list[str]:
        """Return the parties of an account by name."""
        return sorted(m.decode() for m in self._redis.smembers(keys.members(account)))

    def record(self, account: str, parties: Sequence[str]) -> Record:
        """Read everything of *account*, whose members *parties* are."""
        raw = self._redis.hgetall(keys.account(account))
        ledger = raw.get(b"ledger")
        unknown = self._redis.hget(keys.UNKNOWN, account)
        lines = self._redis.lrange(keys.history(account), 0, -1)
        standings = (self.standing(party) for party in parties)
        members = self._leases.members(parties)
        return Record(
            account,
            members,
            [one for one in standings if one],
            from_json(orjson.loads(ledger or "{}")),
            ledger is not None,
            int(raw.get(b"tries", 0)),
            orjson.loads(unknown) if unknown else {},
            [p for p in parties if self._redis.sismember(keys.INCOMPLETE, p)],
            [orjson.loads(line) for line in lines],
            used(self._redis, members, register=False),
        )

    def listed(self, key: str) -> list[tuple[Standing, int]]:
        """Return the held or parked parties with the instant (ms) since when."""
        rows = self._redis.zrange(key, 0, -1, withscores=True)
        found = ((self.standing(raw.decode()), int(since)) for raw, since in rows)
        return [(standing, since) for standing, since in found if standing]

    def incomplete(self, most: int) -> list[str]:
        """Return up to *most* parties that were first met in mid-life."""
        found = self._redis.sscan_iter(keys.INCOMPLETE, count=most)
        return sorted(raw.decode() for raw, _ in zip(found, range(most), strict=False))

    def every_standing(self) -> Iterator[Standing]:
        """Scan all parties; while events come in, a moving picture."""
        prefix = keys.party("")
        # A set: SCAN may return a key twice.
        found = set(self._redis.scan_iter(match=f"{prefix}*", count=1000))
        for raw in found:
            standing = self.standing(raw.decode().removeprefix(prefix))
            if standing:
                yield standing
