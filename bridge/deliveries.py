"""What came in, newest first, and what became of each: the journal and the refused.

The journal has a line for each event and party of a delivery, and is capped, as the list
of the refused is. What became of an event is read from its party's record, and which write
carried it from its account's history.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from typing import Any, NamedTuple

from redis import Redis

from bridge.domain.explanation import WRITES
from bridge.store import keys
from bridge.store.accept import STRENGTH
from bridge.store.inspect import Standing, StateReader

RECEIPTS = (*STRENGTH[-2::-1], STRENGTH[-1], "refused", "discarded")
"""What a line may be; `discarded` is somebody's word about events that came before."""

BATCH = 500
"""Lines that are read in one round trip."""

WAIT_MS = 300
"""How long one step of `follow` waits for a line."""

MOST_PENDING = 1000
"""So many lines are followed to their end; of more, the newest."""

STREAMS = {"j": keys.JOURNAL, "r": keys.REFUSED}
"""The letter that ends a place in the list -> the stream that its line is in."""

PLACE = re.compile(r"(\d{1,15})-(\d{1,20})([jr])")

END = (2**53, 0, "z")

Position = tuple[int, int, str]
"""Instant (ms), number within it, and stream of a line; the list is in their order."""


class Line(NamedTuple):
    """One event of one party as it came, at *at* (ms), and what *became* of it.

    *number* counts the party's events (0: it changed nothing). *became* is settled,
    pending, held or parked, with *why*; *carried* is the write that its delivery led to.
    """

    place: str
    at: int
    source: str
    type: str
    event: str
    party: str
    receipt: str
    reason: str
    delivery: str
    number: int
    account: str | None = None
    became: str = ""
    why: str = ""
    carried: Mapping[str, Any] | None = None


class Filter(NamedTuple):
    """Which lines are wanted; "" and 0 are any.

    *type* and *reason* are parts of them. *text* is the whole id of an event, a delivery
    or an account, or a part of a party's. *since* and *until* are instants (ms).
    *parties* are whole names.
    """

    source: str = ""
    type: str = ""
    receipt: str = ""
    reason: str = ""
    text: str = ""
    since: int = 0
    until: int = 0
    parties: frozenset[str] = frozenset()


ALL = Filter()


class Page(NamedTuple):
    """A page of lines; *next* is the place after which the next one begins, "" none."""

    lines: Sequence[Line]
    next: str


def deliveries(
    redis: Redis, wanted: Filter = ALL, after: str = "", most: int = 50
) -> Page:
    """Up to *most* lines that are *wanted*, newest first, *after* a place of the list.

    Raises redis' own errors.
    """
    begin = _place(after) or END
    members = set(StateReader(redis).members_of(wanted.text)) if wanted.text else set()
    found: list[Line] = []
    newest = (_read(redis, letter, begin, wanted.until) for letter in STREAMS)
    for _, line in merge(*newest, reverse=True):
        if line.at < wanted.since:
            break
        if not _is_wanted(line, wanted, members):
            continue
        if len(found) == most:
            return Page(_with_outcome(redis, found), found[-1].place)
        found.append(line)
    return Page(_with_outcome(redis, found), "")


def timeline(redis: Redis, found: Mapping[str, Any], most: int) -> list[dict[str, Any]]:
    """The last writes of what was *found* (`explain`), and *most* deliveries, newest first."""
    own = frozenset(one.party for one in found["parties"])
    lines = deliveries(redis, Filter(parties=own), most=most).lines if own else ()
    writes = [{"at": line["at"], "write": line} for line in found.get("history", ())]
    events = [{"at": line.at, "delivery": line} for line in lines]
    return sorted((*writes, *events), key=lambda one: -one["at"])


def follow(redis: Redis) -> Iterator[Line | None]:
    """Yield each line as it comes, and again once it is known what became of it.

    None: there is nothing new for now. Raises redis' own errors.
    """
    client: Any = redis
    letters = {key.encode(): letter for letter, key in STREAMS.items()}
    seconds, micros = client.time()
    places = dict.fromkeys(letters, f"{seconds * 1000 + micros // 1000}-0".encode())
    pending: dict[str, Line] = {}
    while True:
        came: list[Line] = []
        for key, rows in dict(client.xread(places, count=BATCH, block=WAIT_MS)).items():
            # redis-py has one list more in RESP3.
            for id_, row in rows[0] if isinstance(rows[0], list) else rows:
                places[key] = id_
                came.append(_line(letters[key], id_, row))
        for line in _with_outcome(redis, came):
            yield line._replace(became="", why="", carried=None)
            pending |= {line.place: line} if line.number else {}
        for line in _with_outcome(redis, [*pending.values()]):
            if line.became != "pending":
                del pending[line.place]
                yield line
        pending = dict([*pending.items()][-MOST_PENDING:])
        yield None


def _place(text: str) -> Position | None:
    parts = PLACE.fullmatch(text)
    return (int(parts[1]), int(parts[2]), parts[3]) if parts else None


def _read(
    redis: Redis, letter: str, begin: Position, until: int
) -> Iterator[tuple[Position, Line]]:
    """Yield the lines of a stream that come after *begin* in the list."""
    newest = f"{begin[0]}-{begin[1]}" if begin < END else "+"
    if until and until < begin[0]:
        newest = str(until)
    while True:
        rows: Any = redis.xrevrange(STREAMS[letter], newest, count=BATCH)
        for id_, row in rows:
            line = _line(letter, id_, row)
            if (place := _place(line.place)) and place < begin:
                yield place, line
        if len(rows) < BATCH:
            return
        newest = f"({rows[-1][0].decode()}"


def _line(letter: str, id_: bytes, row: Mapping[bytes, bytes]) -> Line:
    """A line of the stream that *letter* stands for."""
    place, at = f"{id_.decode()}{letter}", int(id_.partition(b"-")[0])
    said = {name.decode(): value.decode() for name, value in row.items()}
    if letter == "r":
        reason = f"{said['c']}: {said['w']}"
        return Line(place, at, said["s"], "", "", "", "refused", reason, said["d"], 0)
    receipt, kind, reason = said["r"], said["k"], said.get("w", "")
    if receipt == "quarantined":  # it has no kind; the reason begins with it
        kind, reason = "", kind
    party, number = said.get("p", ""), int(said.get("n") or 0)
    ids = said["e"], party, receipt, reason, said.get("d", "")
    return Line(place, at, said["s"], kind, *ids, number)


def _is_wanted(line: Line, wanted: Filter, members: set[str]) -> bool:
    ids = {"", line.event, line.delivery}
    return (
        wanted.source in {"", line.source}
        and wanted.receipt in {"", line.receipt}
        and wanted.type in line.type
        and wanted.reason.lower() in line.reason.lower()
        and (not wanted.parties or line.party in wanted.parties)
        and (wanted.text in ids or wanted.text in line.party or line.party in members)
    )


def _with_outcome(redis: Redis, lines: Sequence[Line]) -> list[Line]:
    """The *lines* with what became of each."""
    parties = sorted({line.party for line in lines if line.party})
    known = dict(zip(parties, StateReader(redis).standings(parties), strict=True))
    accounts = sorted({one.account for one in known.values() if one and one.account})
    histories = StateReader(redis).histories(accounts)
    return [_outcome(line, known.get(line.party), histories) for line in lines]


def _outcome(
    line: Line, standing: Standing | None, histories: Mapping[str, Sequence[Any]]
) -> Line:
    if standing is None:
        return line
    line = line._replace(account=standing.account)
    if not line.number:
        return line
    waits = standing.held + standing.parked
    if line.number <= standing.settled:
        writes = histories.get(standing.account or "", ())
        took = (one for one in writes if one["did"] in WRITES)
        carried = (w for w in took if line.delivery in w.get("deliveries", ()))
        return line._replace(became="settled", carried=next(carried, None))
    if line.number <= standing.settled + waits:
        became = "held" if standing.held else "parked"
        return line._replace(became=became, why=standing.why)
    return line._replace(became="pending")
