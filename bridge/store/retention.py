"""Removes what was kept for its days: deliveries in quarantine, and lines about what was.

How long they are is a setting. All else is limited by number, or belongs to an account.
"""

from __future__ import annotations

from typing import Any

from bridge.domain.values import DAY_MS
from bridge.store import keys
from bridge.store.audit import Deed
from bridge.store.connect import milliseconds, read
from bridge.store.quarantine import Quarantine

MOST = 100
"""Most actions that are removed at once."""


def expire(redis: Any, *, quarantine_days: int, journal_days: int) -> None:
    """Remove what is older. Raises redis' own errors."""
    now = milliseconds(redis)
    since = now - journal_days * DAY_MS
    with redis.pipeline(transaction=False) as pipe:
        pipe.zrangebyscore(keys.QUARANTINED, "-inf", now - quarantine_days * DAY_MS)
        pipe.lrange(keys.AUDIT, -MOST, -1)
        for stream in (keys.JOURNAL, keys.REFUSED):
            pipe.xtrim(stream, minid=since, approximate=False)
        old, deeds, *_ = pipe.execute()
    for id_ in old:
        Quarantine(redis).drop(id_.decode())
    for line in deeds:
        deed: Any = read(Deed, line)
        if deed is None or not isinstance(deed.at, int) or deed.at < since:
            redis.lrem(keys.AUDIT, -1, line)
