"""The index of accounts: one row for each, to search and sort them and to sum their MRR.

A row is what the facts say, as of the account's last job; the script that ends the job
writes it. Rows of accounts whose last job was done by a version without an index are
added by the sweeper.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import orjson
from redis import Redis

from bridge.domain.facts import PartyName, organization_id
from bridge.domain.traits import Known
from bridge.domain.values import CUSTOMER, EMAIL, SUBSCRIPTION, shortened
from bridge.store import keys
from bridge.store.connect import Store
from bridge.store.view import Member, View

BATCH = 500
"""Fields and keys that Redis scans in one step."""

MANY = 100_000
"""Most rows that a process keeps, and that a page may look at: more take seconds, in
which deliveries wait, and a gigabyte."""

DONE = b"done"

LONGEST = 400
"""Most characters of a row's `words`, and of its name."""

TRAITS = (
    "subscriptionStatus",
    "mrr",
    "billingCurrency",
    "churnedAt",
    "nextRenewalDate",
    "planName",
)
"""Traits in a row, in its order."""


class IndexRow(NamedTuple):
    """An account, as the facts say.

    *mrr* is in major units of *currency*; the instants are UTC, as in Vitally. None: there
    is none, or it is not known, and then its trait is among the *unknown* ones. *words*
    are further texts it is known by, in lower case: ids of subscriptions, and the domain
    of its e-mail address.
    """

    account: str
    name: str
    status: str | None
    mrr: float | None
    currency: str | None
    churned_at: str | None
    renews_at: str | None
    plan: str | None
    unknown: tuple[str, ...]
    parties: tuple[str, ...]
    words: str

    def matches(self, text: str) -> bool:
        """Whether *text* (lower case) is part of what people call the account.

        What its accounts are called is no name of an organization.
        """
        if organization_id(self.account):
            return any(text in name.lower() for name in self[:2])
        names = (self.account, self.name, *self.parties)
        _, at, domain = text.rpartition("@")
        return (
            text in self.words
            or any(text in name.lower() for name in names)
            or bool(at and domain in self.words.split())
        )


def row_text(
    view: View, name: str, says: Mapping[str, Known], unknown: Iterable[str]
) -> str:
    """The row of an account for `Leases.ack`; "" if no party is left.

    *says* maps traits, by our names, to what the facts say.
    """
    members = [*view.customers, *view.children]
    if not members:
        return ""
    row = [
        shortened(name, LONGEST),
        *(says.get(trait) for trait in TRAITS),
        [trait for trait in unknown if trait in TRAITS],
        [member.name for member in members],
        shortened(" ".join(sorted(_words(members))), LONGEST),
    ]
    return orjson.dumps(row).decode()


def _words(members: Iterable[Member]) -> set[str]:
    words = set()
    for member in members:
        for thing, state in member.things.items():
            if thing.startswith(SUBSCRIPTION):
                words.add(thing.removeprefix(SUBSCRIPTION).lower())
            elif thing in {CUSTOMER, EMAIL}:
                email = str(state.value.get("email") or "")
                words.add(email.rpartition("@")[2].lower())
    return words - {""}


class Index(Store):
    """Reads the index.

    *keep*: the process keeps the rows, and parses only what has changed since. It is for
    pages that are looked at again and again: events wait while a page is made.
    """

    def __init__(self, redis: Redis, *, keep: bool = False) -> None:
        super().__init__(redis)
        self._read = _kept_row if keep else _row

    def rows(self, key: str = keys.INDEX) -> list[IndexRow]:
        """Every account's row, in no order; with another *key*, those of organizations."""
        return [*{row.account: row for row in self.stream(key)}.values()]

    def stream(self, key: str = keys.INDEX) -> Iterator[IndexRow]:
        """The rows one by one, so that many need no room; one may come twice."""
        raw = self._redis.hscan_iter(key, count=BATCH)
        return (self._read(account, text) for account, text in raw)

    def near(self, text: str, most: int) -> list[IndexRow]:
        """What has exactly the id *text*, of an account or party; without, *most* of all."""
        if text:
            account = self._redis.hget(keys.party(text), "account") or b""
            return [*self.some(list({text, account.decode()})).values()]
        return [*islice(self.stream(), most)]

    def some(self, accounts: Sequence[str]) -> dict[str, IndexRow]:
        """The rows of those of *accounts*, organizations too, that have one."""
        found: dict[str, IndexRow] = {}
        for key in (keys.INDEX, keys.INDEX_OF_ORGANIZATIONS) if accounts else ():
            pairs = zip(accounts, self._redis.hmget(key, accounts), strict=True)
            found |= {n: self._read(n.encode(), text) for n, text in pairs if text}
        return found

    def find(self, text: str) -> list[IndexRow]:
        """What people may call *text*, organizations too, what has exactly that id first.

        *text* is part of a name, the id of an account, party or subscription, or the
        domain of an e-mail address; or an address, of which the domain counts.
        """
        wanted = text.strip().lower()
        rows = map(self.stream, (keys.INDEX, keys.INDEX_OF_ORGANIZATIONS))
        found = {r.account: r for some in rows for r in some if r.matches(wanted)}
        every = found.values()
        return sorted(every, key=lambda row: (not _is(row, wanted), row.name.lower()))

    def count(self) -> int:
        """How many accounts there are."""
        return int(self._redis.hlen(keys.INDEX))

    def complete(self, rows_of: Callable[[list[str]], Mapping[str, str]]) -> bool:
        """Add the rows of some accounts that have parties and no row.

        *rows_of* makes them. Goes on after the accounts of the last call; True: all were
        looked at.
        """
        prefix, place = keys.members(""), self._redis.get(keys.INDEXED) or b"0"
        if place == DONE:
            return True
        cursor, raw = self._redis.scan(int(place), match=f"{prefix}*", count=BATCH)
        names = [one.decode().removeprefix(prefix) for one in raw]
        names = [name for name in names if not organization_id(name)]
        rows = self._redis.hmget(keys.INDEX, names) if names else []
        unlisted = [name for name, row in zip(names, rows, strict=True) if row is None]
        with self._redis.pipeline(transaction=False) as pipe:
            for account, text in rows_of(unlisted).items():
                pipe.hsetnx(keys.INDEX, account, text)
            pipe.set(keys.INDEXED, str(cursor).encode() if cursor else DONE)
            pipe.execute()
        return not cursor


def sums(rows: Iterable[IndexRow]) -> dict[str, tuple[int, float]]:
    """Currency -> accounts with an MRR in it, and their exact sum in major units."""
    numbers, totals = Counter[str](), defaultdict[str, Decimal](Decimal)
    for row in rows:
        if row.mrr is not None:
            numbers[row.currency or ""] += 1
            totals[row.currency or ""] += Decimal(str(row.mrr))
    return {code: (numbers[code], float(totals[code])) for code in sorted(totals)}


def _row(account: bytes, text: bytes) -> IndexRow:
    *plain, unknown, parties, words = orjson.loads(text)[: len(IndexRow._fields) - 1]
    row = (account.decode(), *plain, tuple(unknown), tuple(parties), words)
    return IndexRow._make(row)


_kept_row = lru_cache(MANY)(_row)


def _is(row: IndexRow, text: str) -> bool:
    ids = {PartyName.parse(party).id.lower() for party in row.parties}
    return text in {row.account.lower(), *map(str.lower, row.parties), *ids}
