"""Instances of custom objects: what was sent of each, and whether Vitally has shown it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from bridge.domain.instance import Instance
from bridge.errors import LostLeaseError
from bridge.store import keys
from bridge.store.connect import Store, milliseconds
from bridge.store.lease import APART_MS
from bridge.store.view import Lease

REST_MS, LONGEST_REST_MS = 5000, 600_000
"""How long nobody sends or looks after a failure: at first, at most."""

LATE, MOST_TRIES = 3, 7
"""After so many looks in a row that missed it somebody should know; after the second
number what Vitally shows otherwise is not sent again, only looked for."""


class Sent(NamedTuple):
    """An instance: how many looks are *owed*, and the digest of what was sent.

    One is owed after it was sent, 3 where an earlier message may still arrive, and one
    less after each look that shows it; 0: it is confirmed. *tries* looks in a row missed it.
    """

    owed: int
    tries: int
    digest: str

    def after(self, one: Instance, found: Mapping[str, Any] | None) -> Sent:
        """The row of *one* after a look that *found* it so (None: not at all)."""
        if one.is_shown(found):
            return self._replace(owed=self.owed - 1, tries=0)
        return self._replace(owed=3, tries=min(self.tries + 1, MOST_TRIES))

    def is_sent_again(self, found: object) -> bool:
        """Whether it is sent again after a look that *found* it so (None: not at all)."""
        return self.tries > 0 and (found is None or self.tries < MOST_TRIES)


def word(row: Sent | None, digest: str) -> str:
    """What became of an instance that now has this *digest*."""
    if row is None or row.digest != digest:
        return "to be sent"
    return "not shown so" if row.tries >= LATE else "sent" if row.owed else "shown"


class Objects(Store):
    """Rows of instances, and when all accounts rest."""

    def read(self, account: str) -> dict[str, Sent]:
        """What was sent of each instance of *account*."""
        raw = self._redis.hgetall(keys.instances(account))
        rows = {name.decode(): row.decode() for name, row in raw.items()}
        return {i: Sent(int(row[0]), int(row[1]), row[2:]) for i, row in rows.items()}

    def put(
        self, lease: Lease, rows: Mapping[str, Sent], gone: Iterable[str], *, late: bool
    ) -> None:
        """Store *rows* under the *lease*, and whether Vitally is *late* to show some.

        Raises LostLeaseError.
        """
        put = {i: f"{row.owed}{row.tries}{row.digest}" for i, row in rows.items()}
        text = orjson.dumps({"put": put, "gone": [*gone], "late": late})
        if not self._run("instances", *lease, text):
            raise LostLeaseError(lease.account)

    def rest(self, now: int) -> int:
        """Milliseconds for which nobody sends or looks after a failure."""
        until = self._redis.hget(keys.OBJECTS_REST, "until")
        return max(0, int(until or 0) - now)

    def fail(self, reason: str, now: int, after: float = 0) -> None:
        """Note a failure: nobody tries again for *after* seconds at least.

        That is longer each time. If nobody has tried for long, it is forgotten.
        """
        tries = int(self._redis.hincrby(keys.OBJECTS_REST, "tries", 1))
        least = max(REST_MS * 2 ** min(tries - 1, 20), int(after * 1000))
        until = now + (rest := min(least, LONGEST_REST_MS))
        self._redis.hset(keys.OBJECTS_REST, mapping={"reason": reason, "until": until})
        self._redis.pexpire(keys.OBJECTS_REST, rest + LONGEST_REST_MS)

    def works(self) -> None:
        """Note that it works."""
        self._redis.delete(keys.OBJECTS_REST)

    def recover(self) -> None:
        """Have those looked at whose next step a job has dropped that knew nothing of it."""
        now, owed = milliseconds(self._redis), self._redis.hvals(keys.OBJECTS_OWED)
        # Those that are dirty have a job, or the sweep gives them one.
        dirty = self._redis.zmscore(keys.DIRTY, owed) if owed else []
        lost = [p for p, since in zip(owed, dirty, strict=True) if since is None]
        if due := {party: now + APART_MS * n for n, party in enumerate(lost)}:
            self._redis.zadd(keys.LATER, due, nx=True)
