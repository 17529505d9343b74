"""Which accounts there are, as a person looks for them: by a text, a state, in an order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest, nsmallest
from math import inf
from typing import Any, NamedTuple

from redis import Redis

from bridge.domain.account import unite
from bridge.domain.facts import organization_id
from bridge.domain.traits import instant
from bridge.domain.values import DAY_MS
from bridge.store import keys
from bridge.store.index import MANY, Index, IndexRow
from bridge.store.inspect import StateReader
from bridge.store.lease import Leases

PAGE = 50
"""Accounts on a page."""

WEEK_MS = 7 * DAY_MS

READ = 500
"""Most held parties whose names are read to look for a text in them."""


SOUGHT = 10_000
"""Most held or incomplete parties whose accounts are looked for among MANY."""


LISTS: Mapping[str, Callable[[Any], Iterable[bytes]]] = {
    "drift": lambda redis: redis.smembers(keys.DRIFT),
    "unknown": lambda redis: redis.hkeys(keys.UNKNOWN),
    "held": lambda redis: redis.zrange(keys.HELD, 0, -1),
    "incomplete": lambda redis: redis.smembers(keys.INCOMPLETE),
}
"""State -> where its accounts, or their parties, are listed."""

FILTERS = (*LISTS, "churned")
"""The states of accounts that somebody may look for; `churned` is this week."""

NOT_YET = "9"
"""Later than every instant."""

SORTS: Mapping[str, tuple[Callable[[IndexRow], Any], Callable[..., list[IndexRow]]]] = {
    "name": (lambda row: row.name.casefold(), nsmallest),
    "mrr": (lambda row: -inf if row.mrr is None else row.mrr, nlargest),
    "renewal": (lambda row: row.renews_at or NOT_YET, nsmallest),
    "churned": (lambda row: row.churned_at or "", nlargest),
}
"""Order -> sort key, and what comes first; who has none comes last."""


class Search(NamedTuple):
    """What is looked for: a *text*, one of FILTERS ("" none), one of SORTS, a page."""

    text: str = ""
    state: str = ""
    sort: str = "name"
    page: int = 1


class HeldParty(NamedTuple):
    """A party without an account, since when (ms), and what people call it."""

    party: str
    name: str
    why: str
    since: int


class Listing(NamedTuple):
    """One page of the accounts that were found, the last at most: *total*, on *pages*.

    *states* counts the accounts in each state among those with the text; *held* are the
    parties without an account among them. *tags* maps the accounts shown to their states.
    Of MANY accounts only those of exactly that id are found, or in a state that has a
    list of its own; without *states*.
    """

    accounts: Sequence[IndexRow]
    total: int
    pages: int
    every: int
    states: Mapping[str, int]
    held: Sequence[HeldParty]
    tags: Mapping[str, Sequence[str]]


def listing(redis: Redis, wanted: Search) -> Listing:
    """Find accounts. Raises redis' own errors."""
    index, text = Index(redis, keep=True), wanted.text.strip().lower()
    are_many = (every := index.count()) > MANY
    if are_many and wanted.state not in FILTERS:
        rows = index.near(wanted.text.strip(), PAGE)
        return Listing(rows, len(rows), 1, every, {}, [], {r.account: [] for r in rows})
    states = States(redis)
    if are_many:
        some = index.some(states.listed(wanted.state))
        rows = [row for row in some.values() if row.matches(text)]
    else:
        rows = index.find(text) if text else index.rows()
    tags = {row.account: states.of(row) for row in rows}
    plain = [row for row in rows if not organization_id(row.account)]
    counts = {one: sum(one in tags[row.account] for row in plain) for one in FILTERS}
    if wanted.state in FILTERS:
        rows = [row for row in plain if wanted.state in tags[row.account]]
    total = len(rows)
    pages = max(1, -(-total // PAGE))
    begin = (min(wanted.page, pages) - 1) * PAGE
    # What has exactly that name stays first.
    if are_many or not text or wanted.sort != "name":
        key, first = SORTS[wanted.sort]
        rows = first(begin + PAGE, rows, key=lambda row: (key(row), row.account))
    held = [] if wanted.state not in {"", "held"} else held_parties(redis, text)
    counts["held"] += len(held)
    shown = rows[begin : begin + PAGE]
    tags = {row.account: tags[row.account] for row in shown}
    return Listing(shown, total, pages, every, {} if are_many else counts, held, tags)


class States:
    """The states of the accounts at this moment."""

    def __init__(self, redis: Redis) -> None:
        self._reader = StateReader(redis)
        self._week_ago = instant(time.time_ns() // 1_000_000 - WEEK_MS)
        listed = ((state, ask(redis)) for state, ask in LISTS.items())
        self._lists = {state: {*map(bytes.decode, names)} for state, names in listed}

    def of(self, row: IndexRow) -> list[str]:
        """The states of an account."""
        names, lists = {row.account, *row.parties}, self._lists.items()
        found = [state for state, own in lists if not names.isdisjoint(own)]
        is_gone = (row.churned_at or "") > self._week_ago
        return [*found, "churned"] if is_gone else found

    def listed(self, state: str) -> Sequence[str]:
        """The accounts in a *state*, from its own list; `churned` has none."""
        names = sorted(self._lists.get(state, ()))
        if state in {"drift", "unknown"}:
            return names
        standings = self._reader.standings(names[:SOUGHT])
        return sorted({one.account for one in standings if one and one.account})


def held_parties(redis: Redis, text: str) -> list[HeldParty]:
    """The held parties without an account that people may call *text*, or that wait so."""
    text = text.strip().lower()
    listed = StateReader(redis).listed(keys.HELD)
    waiting = [(one, since) for one, since in listed if one.account is None]
    names = names_of(redis, [one.party for one, _ in waiting[:READ]])
    every = (HeldParty(s.party, names.get(s.party, ""), s.why, at) for s, at in waiting)
    return [one for one in every if any(text in word.lower() for word in one[:3])]


def names_of(redis: Redis, parties: Sequence[str]) -> dict[str, str]:
    """What people call *parties*: the name, else the e-mail address; "" not known."""
    members = Leases(redis).members(parties) if parties else []
    united = (unite(one.name, [one.party({})]) for one in members)
    return {one.id: next((n.text for _, n in one.names), "") for one in united}
