"""Instances of custom objects: what was sent of each, and whether Vitally has shown it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import orjson

from bridge.errors import LostLeaseError
from bridge.store import keys
from bridge.store.connect import Store
from bridge.store.view import Lease

REST_MS, LONGEST_REST_MS = 5000, 600_000
"""How long nobody sends or looks after a failure: at first, at most."""


def word(rows: Mapping[str, str], instance: str, digest: str) -> str:
    """What became of an *instance* that now has this *digest*."""
    row = rows.get(instance, "")
    if row[1:] != digest:
        return "to be sent"
    return "sent" if int(row[0]) else "shown"


class Objects(Store):
    """Rows of instances: how many looks are owed (a digit), and the digest of what was sent.

    It is 1 after an instance was sent, 3 where an earlier message may still arrive, and one
    less after each look that shows it; 0: it is confirmed.
    """

    def read(self, account: str) -> dict[str, str]:
        """The row of each instance of *account*."""
        raw = self._redis.hgetall(keys.instances(account))
        return {name.decode(): row.decode() for name, row in raw.items()}

    def put(
        self,
        lease: Lease,
        rows: Mapping[str, str],
        gone: Collection[str] = (),
        **told: int,
    ) -> None:
        """Store *rows* under the *lease*, and what the script is *told* besides.

        That is how many were `sent` and `confirmed`, and whether Vitally is `late` to
        show them. Raises LostLeaseError.
        """
        told = {"sent": 0, "confirmed": 0, "late": False, **told}
        text = orjson.dumps({"put": rows, "gone": [*gone], **told})
        if not self._run("instances", lease.account, lease.fence, text):
            raise LostLeaseError(lease.account)

    def rest(self, now: int) -> int:
        """Milliseconds for which nobody sends or looks after a failure."""
        until = self._redis.hget(keys.OBJECTS_REST, "until")
        return max(0, int(until or 0) - now)

    def fail(self, reason: str, now: int) -> None:
        """Note a failure: nobody tries again for a while, longer each time."""
        tries = int(self._redis.hincrby(keys.OBJECTS_REST, "tries", 1))
        rest = min(REST_MS * 2 ** min(tries - 1, 20), LONGEST_REST_MS)
        row = {"reason": reason, "until": now + rest}
        self._redis.hset(keys.OBJECTS_REST, mapping=row)

    def works(self) -> None:
        """Note that it works."""
        self._redis.delete(keys.OBJECTS_REST)
