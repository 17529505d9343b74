"""Checks whether Redis can be written to, and whether an event is on its disk.

One thread checks for the whole process. Each delivery asks `refuses` before it calls
Redis. So a Redis that is down, stalled, full, read-only or allowed to evict costs no
time-out, and cannot block every thread of the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from bridge.errors import StorageError
from bridge.settings import Settings
from bridge.store import keys
from bridge.store.connect import aside

PATIENCE_MS = 1000
"""Longest wait for the disk; `appendfsync everysec` takes a second at most."""

FSYNC_EVERY, LONGEST_FSYNC = 1.1, 0.3
"""Seconds within which `everysec` begins an fsync; how long one may take."""

SLACK = 0.05
"""Seconds allowed for the round trip."""

MOST = 64
"""Most deliveries that wait for the disk at once; each has its own connection."""

UNFIT = (
    "BRIDGE_DURABILITY is fsync, and Redis cannot confirm what is on its disk ({}); it "
    "needs Redis 7.2 or Valkey, with appendonly yes and appendfsync always or everysec."
)
LATE = "Redis did not confirm in time that it is on disk"


def flusher(redis: Redis, watch: Watch | None = None) -> Callable[[], None]:
    """Return what waits until all that was written before is on Redis' disk.

    It may have been written over any connection: a write of our own follows it, and
    Redis says when that one is there; where it may say so too early, we wait longer
    than it does. The wait is a delivery's last step and has
    connections of its own, so that it holds up no other delivery. Raises StorageError,
    also if Redis was restarted since the last check of *watch*, or the last call.
    """
    own: Any = aside(redis, timeout=PATIENCE_MS / 1000 + SLACK, most=MOST)
    run = [""]

    def note(redis: Any) -> None:
        run[0] = redis.info("server").get("run_id", "")

    if watch is not None:
        watch.errands.append(note)

    def flush() -> None:
        try:
            server = own.info("server")
            known, run[0] = run[0], server.get("run_id", "")
            # What another process took, this one may not have.
            done = run[0] == (known or run[0])
            done &= _outwaited(own) if _is_early(own, server) else _confirmed(own)
            done &= server.get("run_id") == own.info("server").get("run_id")
        except RedisError as error:
            raise StorageError(f"{LATE} ({type(error).__name__})") from error
        if not done:
            raise StorageError(LATE)

    return flush


def _confirmed(redis: Any) -> bool:
    """Write, and ask whether that is on the disk."""
    with redis.pipeline(transaction=False) as pipe:
        pipe.set(keys.FLUSHED, "")
        pipe.waitaof(1, 0, PATIENCE_MS)
        _, (done, _) = pipe.execute()
    return bool(done)


def _outwaited(redis: Any) -> bool:
    """Wait until an fsync that began after now has ended."""
    time.sleep(FSYNC_EVERY)
    until = time.monotonic() + LONGEST_FSYNC
    while redis.info("persistence").get("aof_pending_bio_fsync"):
        if time.monotonic() > until:
            return False
        time.sleep(SLACK)
    return True


def _is_early(redis: Any, server: Mapping[str, Any]) -> bool:
    """Whether `WAITAOF` may confirm what is not on the disk yet.

    So it is with `everysec` before Redis 8, and in Valkey, which calls itself Redis 7:
    https://github.com/redis/redis/pull/13793
    """
    version = str(server.get("redis_version", ""))
    if int(version.partition(".")[0] or 0) >= 8:  # noqa: PLR2004 - a version
        return False
    try:
        how = redis.config_get("appendfsync").get("appendfsync")
    except ResponseError:
        return True
    return how not in {"always", "no"}


def unfit(redis: Redis) -> str | None:
    """Why Redis cannot confirm what is on its disk, as a sentence; None: it can."""
    try:
        redis.waitaof(1, 0, 1)
        how = redis.config_get("appendfsync")
        pauses = redis.config_get("no-appendfsync-on-rewrite")
    except NoPermissionError:
        return None
    except ResponseError as error:
        return None if "CONFIG" in str(error) else UNFIT.format(error)
    if "yes" in pauses.values():
        return UNFIT.format("no-appendfsync-on-rewrite is yes")
    return UNFIT.format("appendfsync is no") if "no" in how.values() else None


EVERY = 1.0
"""Seconds between two checks."""

PATIENCE = 0.45
"""Seconds that Redis has to answer."""

STALE = 3.0
"""Seconds after which an unfinished check (stuck in DNS, say) counts as failed."""

SECTIONS = ("memory", "replication", "persistence")

POLICY = "maxmemory-policy"

DOWN = "Redis is down or does not answer in time."
UNSEEN = "Redis has not been checked yet."
LOADING = "Redis is still loading its data."
READ_ONLY = "Redis is read-only (a replica)."
DISK = "Redis cannot write its append-only file, and so refuses writes."
REFUSED = "Redis refuses the user or password in REDIS_URL."
EVICTS = "Redis may evict keys (maxmemory-policy is {}); it must be noeviction."
FULL = "Redis is full ({} of {} bytes; {:.0%} of them may be used)."
SNAPSHOT = "Redis failed to save its last snapshot, and may refuse writes."


class View(NamedTuple):
    """The result of one check; *begun* in seconds of the monotonic clock.

    *refusals* say why nothing can be written, *worries* what only an operator needs to
    know. Both are sentences. *memory* is the used share of Redis' `maxmemory` (0: it has
    none); *appends* is False where it is known to keep no append-only file.
    """

    begun: float
    refusals: tuple[str, ...]
    worries: tuple[str, ...] = ()
    memory: float = 0.0
    appends: bool = True


def judge(
    info: Mapping[str, Any],
    policy: str | None,
    allow_eviction: bool,
    share: float = 1.0,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (refusals, worries) of what INFO says; a missing field is no fault.

    *policy* is the `maxmemory-policy`, None where Redis does not tell. It counts
    without a `maxmemory`, too: that may be set at any moment. From *share* of the
    `maxmemory` on nothing more is taken: what is left is the workers', who make room.
    """
    limit, used = info.get("maxmemory", 0), _used(info)
    evicts = policy not in {None, "noeviction"}
    refusals = {
        LOADING: info.get("loading", 0) == 1,
        READ_ONLY: info.get("role", "master") != "master",
        EVICTS.format(policy): evicts and not allow_eviction,
        FULL.format(used, limit, share): _filled(info) >= share and not evicts,
        DISK: info.get("aof_last_write_status", "ok") != "ok",
    }
    worries = {SNAPSHOT: info.get("rdb_last_bgsave_status", "ok") != "ok"}
    return _true(refusals), _true(worries)


def _used(info: Mapping[str, Any]) -> int:
    """The bytes that count towards `maxmemory`."""
    used: int = info.get("used_memory", 0) - info.get("mem_not_counted_for_evict", 0)
    return used


def _filled(info: Mapping[str, Any]) -> float:
    """The share of `maxmemory` that is used; 0 where there is no such limit."""
    limit = info.get("maxmemory", 0)
    return _used(info) / limit if limit > 0 else 0.0


def _true(sentences: Mapping[str, bool]) -> tuple[str, ...]:
    return tuple(sentence for sentence, is_so in sentences.items() if is_so)


class Watch:
    """Checks Redis every second, over its own connection.

    What the process has to tell Redis now and then goes the same way: after each check
    that finds it well, each of the *errands* gets the connection. It may raise redis' own
    errors.
    """

    def __init__(
        self,
        redis: Redis,
        allow_eviction: bool = False,
        *,
        share: float = 1.0,
        flushes: bool = False,
    ) -> None:
        self._redis: Any = aside(redis, timeout=PATIENCE, most=1)
        self._allow_eviction = allow_eviction
        self._share = share
        self._flushes = flushes
        self.errands: list[Callable[[Redis], None]] = []
        self._view = View(float("-inf"), (UNSEEN,))
        self._failed = float("-inf")
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, redis: Redis, settings: Settings) -> Watch:
        """Make one that judges by the *settings*."""
        return cls(
            redis,
            settings.bridge_allow_eviction,
            share=settings.bridge_redis_share,
            flushes=settings.bridge_durability == "fsync",
        )

    def start(self) -> None:
        """Start checking in a daemon thread; until the first check everything is refused."""
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the connection."""
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._redis.close()

    def failed(self) -> None:
        """Note that Redis did not take something just now.

        All is refused until a look that begins after this moment finds it well; that
        look begins at once.
        """
        self._failed = time.monotonic()
        self._wake.set()

    def refuses(self) -> str | None:
        """Why nothing can be written now, in a sentence; None: try it."""
        return next(iter(self.view().refusals), None)

    def view(self) -> View:
        """What the last check found, and what has failed since."""
        view = self._view
        late = self._thread is not None and time.monotonic() - view.begun > STALE
        if not view.refusals and (late or self._failed >= view.begun):
            return view._replace(refusals=(DOWN,))
        return view

    def look(self) -> View:
        """Look once; return what was found."""
        begun = time.monotonic()
        try:
            self._view = self._ask(begun)
        except ResponseError as error:
            self._view = View(begun, (f"Redis answers with an error: {error}.",))
        except AuthenticationError:
            self._view = View(begun, (REFUSED,))
        except (RedisError, OSError):
            self._view = View(begun, (DOWN,))
        if not self._view.refusals:
            with suppress(RedisError):
                for errand in self.errands:
                    errand(self._redis)
        return self.view()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            self.look()
            self._wake.wait(EVERY)

    def _ask(self, begun: float) -> View:
        """Read INFO section by section: several at once are new in Redis 7."""
        with self._redis.pipeline(transaction=False) as pipe:
            for section in SECTIONS:
                pipe.info(section)
            replies = pipe.execute(raise_on_error=False)
        info: dict[str, Any] = {}
        for reply in replies:
            if isinstance(reply, dict):
                info |= reply
            # A working Redis may refuse INFO.
            elif not isinstance(reply, NoPermissionError) and (
                "unknown command" not in str(reply)
            ):
                raise reply
        # A managed Redis may show the policy in INFO, in CONFIG, or not at all.
        policy = info.get("maxmemory_policy")
        if policy is None:
            with suppress(ResponseError):
                policy = self._redis.config_get(POLICY).get(POLICY)
        refusals, worries = judge(info, policy, self._allow_eviction, self._share)
        why = unfit(self._redis) if self._flushes and not refusals else None
        refusals = (*refusals, why) if why else refusals
        appends = info.get("aof_enabled", 1) == 1
        return View(begun, refusals, worries, _filled(info), appends)
