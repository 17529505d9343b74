"""Removes what was kept for its days: deliveries in quarantine, and lines about what was.

How long they are is a setting. All else is limited by number, or belongs to an account.
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from bridge.domain.values import DAY_MS
from bridge.store import keys
from bridge.store.audit import Deed
from bridge.store.quarantine import Quarantine

MOST = 100
"""Most actions that are removed at once."""


def expire(redis: Any, *, quarantine_days: int, journal_days: int) -> None:
    """Remove what is older. Raises redis' own errors."""
    now = time.time_ns() // 1_000_000
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
        if Deed(*orjson.loads(line)).at < since:
            redis.lrem(keys.AUDIT, -1, line)
