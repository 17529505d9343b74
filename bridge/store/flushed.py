"""Whether what Redis was sent is on its disk: `WAITAOF`, and why it cannot be known."""

from __future__ import annotations

from collections.abc import Callable

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from bridge.errors import StorageError
from bridge.store import keys
from bridge.store.connect import aside

PATIENCE_MS = 1000
"""How long a sender waits for the disk; with `appendfsync everysec` a second at most."""

SLACK = 0.05
"""Seconds for the way there and back."""

MOST = 64
"""So many deliveries wait for the disk at once; each has a connection of its own."""

UNFIT = (
    "BRIDGE_DURABILITY is fsync, and Redis cannot tell what is on its disk ({}); it "
    "needs Redis 7.2 or Valkey, with appendonly yes and appendfsync always or everysec."
)
LATE = "Redis did not have it on its disk in time"


def flusher(redis: Redis) -> Callable[[], None]:
    """Return what waits until all that was written before is on Redis' disk.

    It may have been written over any connection: a write of our own follows it, and
    Redis says when that one is there. The wait is a delivery's last step and has
    connections of its own, so that it holds up no other delivery. Raises StorageError.
    """
    own = aside(redis, timeout=PATIENCE_MS / 1000 + SLACK, most=MOST)

    def flush() -> None:
        try:
            with own.pipeline(transaction=False) as pipe:
                pipe.set(keys.FLUSHED, "")
                pipe.waitaof(1, 0, PATIENCE_MS)
                _, (done, _) = pipe.execute()
        except RedisError as error:
            raise StorageError(f"{LATE} ({type(error).__name__})") from error
        if not done:
            raise StorageError(LATE)

    return flush


def unfit(redis: Redis) -> str | None:
    """Why Redis cannot tell what is on its disk, in a sentence; None: it can."""
    try:
        redis.waitaof(1, 0, 1)
        how = redis.config_get("appendfsync")
    except NoPermissionError:
        return None
    except ResponseError as error:
        return None if "CONFIG" in str(error) else UNFIT.format(error)
    return UNFIT.format("appendfsync is no") if "no" in how.values() else None
