"""What Vitally was last seen to have: read for a plan, and noted by a reconciliation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from redis import Redis

from bridge.domain.document import Ledger
from bridge.store import keys
from bridge.store.connect import Scripts, milliseconds
from bridge.store.lease import Leases, home, read_ledger
from bridge.store.view import View

BATCH = 200
"""Accounts that are read in one step."""

STRANGER_DAYS = 7
"""How long what was seen of an account is kept that no party has."""


class Seen(NamedTuple):
    """What a reading showed of *account* otherwise than *ledger* (as it is stored).

    *drifted*: somebody else has changed or deleted what the bridge wrote.
    """

    account: str
    ledger: str
    traits: Mapping[str, Any]
    missing: bool = False
    drifted: bool = False


class Shadow:
    """Raises redis' own errors."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._leases = Leases(redis)
        self._run = Scripts(redis)

    def accounts(self) -> dict[str, list[str]]:
        """Every account that has parties -> those that are about to join it."""
        prefix = keys.members("")
        found: dict[str, list[str]] = {
            name: [] for name in self._named(f"{prefix}*", prefix)
        }
        dirty = [raw.decode() for raw in self._redis.zrange(keys.DIRTY, 0, -1)]
        for names in _batches(dirty, BATCH):
            for member in self._leases.members(names):
                account, _ = home(member)
                if account is not None:
                    found.setdefault(account, []).append(member.name)
        return found

    def views(self, accounts: Mapping[str, Sequence[str]]) -> Iterator[View]:
        """Read *accounts* (as `accounts` returns them), many at a time."""
        for some in _batches([*accounts.items()], BATCH):
            yield from self._leases.peek(some)

    def ledgers(self, accounts: Sequence[str]) -> list[tuple[str, Ledger]]:
        """Return the ledger of each account, and its text."""
        with self._redis.pipeline(transaction=False) as pipe:
            for name in accounts:
                pipe.hmget(keys.account(name), "ledger", "seen")
            rows = pipe.execute()
        return [((row[0] or b"").decode(), read_ledger(*row)) for row in rows]

    def known(self) -> Iterator[tuple[str, str, Ledger]]:
        """Yield every account that was written or seen: its ledger as text, and read."""
        prefix = keys.account("")
        for some in _batches([*self._named(f"{prefix}*", prefix)], BATCH):
            for name, (text, ledger) in zip(some, self.ledgers(some), strict=True):
                yield name, text, ledger

    def drifted(self) -> Iterator[tuple[str, Ledger]]:
        """Yield the accounts that the last reading showed changed by others."""
        names = sorted(raw.decode() for raw in self._redis.smembers(keys.DRIFT))
        for some in _batches(names, BATCH):
            ledgers = (ledger for _, ledger in self.ledgers(some))
            yield from zip(some, ledgers, strict=True)

    def unseen(self, since: int) -> tuple[int, list[str]]:
        """How many accounts we wrote, and those neither read nor written *since* (ms)."""
        prefix, ours, absent = keys.account(""), 0, []
        for some in _batches([*self._named(f"{prefix}*", prefix)], BATCH):
            with self._redis.pipeline(transaction=False) as pipe:
                for name in some:
                    pipe.hmget(keys.account(name), "ledger", "seen", "wrote_at")
                rows = pipe.execute()
            for name, (ledger, seen, wrote_at) in zip(some, rows, strict=True):
                ours += ledger is not None
                last = max(read_ledger(None, seen).read_at, int(wrote_at or 0))
                if ledger is not None and last < since:
                    absent.append(name)
        return ours, absent

    def without_party(self, accounts: Sequence[str]) -> list[str]:
        """Return those of *accounts* that no party has."""
        with self._redis.pipeline(transaction=False) as pipe:
            for name in accounts:
                pipe.exists(keys.members(name))
            rows = pipe.execute()
        return [name for name, has in zip(accounts, rows, strict=True) if not has]

    def note(self, at: int, seen: Iterable[Seen]) -> int:
        """Note what a reading that began *at* (ms) showed; how many were noted.

        What was written since, or is being written, is left as it is.
        """
        rows = [(one.account, one.ledger, _text(at, one), one.drifted) for one in seen]
        if not rows:
            return 0
        days = STRANGER_DAYS * 86_400
        return int(self._run("see", at, orjson.dumps(rows), days))

    def now(self) -> int:
        """Redis' own clock, in milliseconds."""
        return milliseconds(self._redis)

    def _named(self, pattern: str, prefix: str) -> Iterator[str]:
        # A set: SCAN may return a key twice.
        for raw in set(self._redis.scan_iter(match=pattern, count=1000)):
            yield raw.decode().removeprefix(prefix)


def _text(at: int, one: Seen) -> str:
    return orjson.dumps([one.traits, at, one.missing]).decode()


def _batches(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
