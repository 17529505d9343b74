"""Checks whether Redis can be written to, and whether an event is on its disk.

One thread checks for the whole process. Each delivery asks for its `health` before it calls
Redis. So a Redis that is down, stalled, full, read-only or allowed to evict costs no
time-out, and cannot block every thread of the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
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
from bridge.store.connect import own_client, run_id

FSYNC_EVERY, APART = 1.1, 0.15
"""Seconds within which `everysec` begins an fsync: a second and a round of Redis' clock;
and more than such a round, within which it begins the next one after one has ended."""

ANSWERS = 0.3
"""Seconds that Redis has to answer, or to confirm, before it is asked again."""

GIVEN_UP = 2.0
"""Seconds after which surely nobody waits for the disk any more."""

UNFIT = (
    "BRIDGE_DURABILITY is fsync, and Redis cannot confirm what is on its disk ({}); it "
    "needs Redis 7.2 or Valkey, with appendonly yes and appendfsync always or everysec."
)
LATE = "Redis did not confirm in time that it is on disk"


class Disk:
    """Waits, in one thread for all deliveries, until what was written is on Redis' disk.

    It may have been written over any connection. With `always` a write of our own
    follows it, and `WAITAOF` says when that one is there. With `everysec` it may say so
    too early (https://github.com/redis/redis/pull/13793), so there we wait out an fsync
    that began later.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = own_client(redis, timeout=ANSWERS + APART, most=1)
        self._waiting: SimpleQueue[tuple[float, Future[str]]] = SimpleQueue()
        self._safe = self._idle = float("-inf")
        threading.Thread(target=self._serve, name="disk", daemon=True).start()

    def wait(self, run: str, until: float) -> None:
        """Wait until all that was written before is on the disk.

        Raises StorageError at the instant *until* of the monotonic clock, or if Redis is
        not the *run* any more that it was before the write ("": that is not known).
        """
        mine: Future[str] = Future()
        now = time.monotonic()
        self._waiting.put((now, mine))
        try:
            found = mine.result(max(until - now, 0))
        except TimeoutError as error:
            raise StorageError(LATE) from error
        if run and found != run:
            raise StorageError("Redis was restarted before it was on disk")

    def _serve(self) -> None:
        run = ""
        while True:
            written, mine = self._waiting.get()
            while self._safe < written and time.monotonic() < written + GIVEN_UP:
                try:
                    self._look()
                    run = run_id(self._redis)
                except (RedisError, OSError):
                    time.sleep(APART)
            if self._safe >= written:
                mine.set_result(run)

    def _look(self) -> None:
        """Find out up to when all that was written is on the disk."""
        begun = time.monotonic()
        if setting(self._redis, "appendfsync") in {"always", "no"}:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(keys.FLUSHED, "")
                pipe.waitaof(1, 0, int(ANSWERS * 1000))
                _, (done, _) = pipe.execute()
            self._safe = begun if done else self._safe
            return
        time.sleep(APART)
        begun = time.monotonic()
        # When it was idle before, the fsync may just have been about to begin. Now it
        # has ended.
        if self._redis.info("persistence").get("aof_pending_bio_fsync") == 0:
            self._safe, self._idle = self._idle - FSYNC_EVERY, begun


def setting(redis: Any, name: str) -> str:
    """A setting of Redis; "": it does not tell."""
    try:
        return str(redis.config_get(name).get(name, ""))
    except ResponseError:
        return ""


def unfit(redis: Any) -> str | None:
    """Why Redis cannot confirm what is on its disk, as a sentence; None: it can."""
    how = setting(redis, "appendfsync")
    try:
        redis.waitaof(1, 0, 1)
        if how != "always":
            redis.info("persistence")
    except ResponseError as error:
        return UNFIT.format(error)
    if setting(redis, "no-appendfsync-on-rewrite") == "yes":
        return UNFIT.format("no-appendfsync-on-rewrite is yes")
    return UNFIT.format("appendfsync is no") if how == "no" else None


def refusal(redis: Any) -> str | None:
    """What Redis answers to a write that changes nothing, as a sentence; None: it takes it.

    Some refusals show nowhere else, such as that of `min-replicas-to-write`.
    """
    try:
        redis.zadd(keys.WORKERS, {"": 0}, xx=True)
    except ResponseError as error:
        return REFUSES.format(str(error).removesuffix("."))
    return None


EVERY = 1.0
"""Seconds between two checks."""

PATIENCE = 0.45
"""Seconds that Redis has to answer."""

STALE = 3.0
"""Seconds after which an unfinished check (stuck in DNS, say) counts as failed."""

SECTIONS = ("server", "memory", "replication", "persistence")

POLICY = "maxmemory-policy"

DOWN = "Redis is down or does not answer in time."
UNSEEN = "Redis has not been checked yet."
LOADING = "Redis is still loading its data."
READ_ONLY = "Redis is read-only (a replica)."
DISK = "Redis cannot write its append-only file, and so refuses writes."
REFUSED = "Redis refuses the user or password in REDIS_URL."
EVICTS = "Redis may evict keys (maxmemory-policy is {}); it must be noeviction."
REFUSES = "Redis refuses writes ({})."
FULL = "Redis is full ({} of {} bytes; {:.0%} of them may be used)."
SNAPSHOT = "Redis failed to save its last snapshot, and may refuse writes."


class RedisHealth(NamedTuple):
    """What one check of Redis found; *begun* in seconds of the monotonic clock.

    *refusals* say why nothing can be written, *worries* what only an operator needs to
    know. Both are sentences. *memory* is the used share of Redis' `maxmemory` (0: it has
    none); *appends* is False where it is known to keep no append-only file. *run* is
    Redis' process ("": it does not tell).
    """

    begun: float
    refusals: tuple[str, ...]
    worries: tuple[str, ...] = ()
    memory: float = 0.0
    appends: bool = True
    run: str = ""


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
    that finds it well, each of the *callbacks* gets the connection. It may raise redis' own
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
        self._redis: Any = own_client(redis, timeout=PATIENCE, most=1)
        self._allow_eviction = allow_eviction
        self._share = share
        self._tries = [refusal, unfit] if flushes else [refusal]
        self.callbacks: list[Callable[[Redis], None]] = []
        self._health = RedisHealth(float("-inf"), (UNSEEN,))
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

        All is refused until a check that begins after this moment finds it well; that
        one begins at once.
        """
        self._failed = time.monotonic()
        self._wake.set()

    def health(self) -> RedisHealth:
        """What the last check found, and what has failed since."""
        health = self._health
        late = self._thread is not None and time.monotonic() - health.begun > STALE
        if not health.refusals and (late or self._failed >= health.begun):
            return health._replace(refusals=(DOWN,))
        return health

    def check(self) -> RedisHealth:
        """Check once; return what was found."""
        begun = time.monotonic()
        try:
            self._health = self._ask(begun)
        except ResponseError as error:
            reason = f"Redis answers with an error: {error}."
            self._health = RedisHealth(begun, (reason,))
        except (RedisError, OSError) as error:
            is_refused = isinstance(error, AuthenticationError)
            self._health = RedisHealth(begun, (REFUSED if is_refused else DOWN,))
        if not self._health.refusals:
            for callback in self.callbacks:
                with suppress(RedisError):
                    callback(self._redis)
        return self.health()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            self.check()
            self._wake.wait(EVERY)

    def _ask(self, begun: float) -> RedisHealth:
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
        policy = info.get("maxmemory_policy") or setting(self._redis, POLICY) or None
        refusals, worries = judge(info, policy, self._allow_eviction, self._share)
        refusals = refusals or (*filter(None, (f(self._redis) for f in self._tries)),)
        appends = info.get("aof_enabled", 1) == 1
        run = info.get("run_id", "")
        return RedisHealth(begun, refusals, worries, _filled(info), appends, run)
