"""The quarantine: authentic deliveries that could not be read, kept whole for a replay.

Its number, size and age are limited. `quarantined` counts the events that are here now.
An event that a replay can read moves to the count where it belongs. Dropped events (by
hand, or for lack of room or age) count as ignored.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import orjson

from bridge.store import keys
from bridge.store.accept import stored
from bridge.store.connect import Store, batches

MOST = 1000
"""Most deliveries that are kept; the oldest go first."""

MOST_BYTES = 16 * 1024 * 1024
"""Most bytes that they may take in Redis; the oldest go first."""

SHARE = 20
"""They take at most 1/SHARE of Redis' `maxmemory`."""

BATCH = 50
"""Deliveries that are read in one round trip."""

MOST_RUNS = 1000
"""Most runs of refused parts that are stored; with more, a replay tries all parts."""

SHORT = 8
"""A number of fewer digits may be a quantity or an amount, whoever has it as an id."""

Runs = list[list[int]]
"""[first, last] of consecutive parts, counted from 0."""


class Kept(NamedTuple):
    """A quarantined delivery; *since* in milliseconds.

    *parts*: which of the *of* parts of its batch were refused; None: all of it.
    *delivery* is the id under which it came last. Of its *headers* those are there that
    its source reads.
    """

    id: str
    since: int
    source: str
    event: str
    reason: str
    body: bytes
    parts: Runs | None = None
    of: int = 1
    delivery: str = ""
    headers: Mapping[str, str] = {}

    def holds(self, part: int, of: int) -> bool:
        """Whether *part* of now *of* was refused; all are where they do not match."""
        if self.parts is None or of != self.of:
            return True
        return any(first <= part <= last for first, last in self.parts)


def runs(parts: Collection[int], of: int) -> Runs | None:
    """Return the refused *parts* (ascending) as runs; None: all of them were."""
    joined: Runs = []
    for part in parts:
        if joined and joined[-1][1] == part - 1:
            joined[-1][1] = part
        else:
            joined.append([part, part])
    return None if len(parts) == of or len(joined) > MOST_RUNS else joined


class Quarantine(Store):
    """The deliveries that could not be read; raises StorageError."""

    def put(self, kept: Kept, events: int = 1) -> None:
        """Keep a delivery whole, once, and count the *events* of it that are refused."""
        head = (kept.id, _row(kept), MOST)
        line = (kept.source, kept.event, kept.reason[:200], events)
        with stored():
            self._run("quarantine_put", *head, *line, MOST_BYTES, SHARE, kept.delivery)

    def all(self) -> Iterator[Kept]:
        """Every kept delivery, the oldest first."""
        listed = self._redis.zrange(keys.QUARANTINED, 0, -1, withscores=True)
        for some in batches(listed, BATCH):
            rows = self._redis.hmget(keys.QUARANTINE, [raw for raw, _ in some])
            for (raw, since), data in zip(some, rows, strict=True):
                if data:
                    yield _kept(raw.decode(), int(since), data)

    def get(self, id_: str) -> Kept | None:
        """One kept delivery."""
        data = self._redis.hget(keys.QUARANTINE, id_)
        since = self._redis.zscore(keys.QUARANTINED, id_)
        return _kept(id_, int(since or 0), data) if data else None

    def about(self, names: Iterable[tuple[str, str]]) -> Iterator[tuple[Kept, bool]]:
        """Yield the deliveries that hold one of *names*, and whether surely it alone.

        A name is a source and an id of its customer, a word in that source's deliveries,
        or "" and an account, a whole text in any. A batch may hold others as well, and a
        short number may mean something else.
        """
        wanted = [(source, id_, _pattern(source, id_)) for source, id_ in names]
        for kept in self.all():
            mine = [row for row in wanted if row[0] in {"", kept.source}]
            found = [id_ for _, id_, named in mine if named.search(kept.body)]
            if found:
                is_sure = any(len(i) >= SHORT or not i.isdigit() for i in found)
                yield kept, is_sure and kept.of == 1

    def begin(self) -> None:
        """Bring the counting of an older version up to date, before a replay."""
        self.again("", None)

    def again(self, id_: str, left: Kept | None) -> None:
        """Note what a replay has *left* of a delivery; nothing: it goes."""
        with stored():
            self._run("quarantine_again", id_, _row(left) if left else "")

    def drop(self, id_: str) -> None:
        """Forget a delivery; its events are counted as ignored."""
        with stored():
            self._run("quarantine_drop", id_)


def _pattern(source: str, id_: str) -> re.Pattern[bytes]:
    """How a name is found in a body; JSON may have it in ASCII."""
    begin, end = (r"(?<![\w-])", r"(?![\w-])") if source else ('(?<=[">])', '(?=["<])')
    words = "|".join(re.escape(word) for word in {id_, json.dumps(id_)[1:-1]})
    return re.compile(f"{begin}(?:{words}){end}".encode())


def _row(kept: Kept) -> bytes:
    row = kept._asdict() | {"body": base64.b64encode(kept.body).decode()}
    del row["id"], row["since"]
    return orjson.dumps(row)


def _kept(id_: str, since: int, data: bytes) -> Kept:
    row = orjson.loads(data)
    row |= {"id": id_, "since": since, "body": base64.b64decode(row["body"])}
    return Kept(**{name: row[name] for name in Kept._fields if name in row})
