"""The sweeper: queues new jobs for those that a crash, a deploy or the queue lost.

The `dirty` set is the record of what has to be done; a job only triggers it. One worker
sweeps at a time. A job is not lost while it waits in the queue, while its account is
leased, or while its party waits for its next try. Any other dirty party gets a new job.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from time import monotonic
from typing import Any

from redis.exceptions import RedisError

from bridge.desired import desired_state
from bridge.errors import VitallyMissingError
from bridge.log import fields
from bridge.store import keys, samples
from bridge.store.connect import each, leads, milliseconds
from bridge.store.index import Index
from bridge.store.objects import Objects
from bridge.store.retention import expire
from bridge.store.shadow import Shadow
from workers.context import Context
from workers.probes import ask

log = logging.getLogger("workers.sweep")

TICK = 0.25
"""Seconds between checks for parties whose next try is due."""

SWEEP, SLOW_SWEEP = 1.0, 3.0
"""Seconds between checks for lost jobs; the second if thousands are on their way."""

MANY = 1000

HALF_OPEN = 30.0
"""Seconds after which one write is tried although the address still looks wrong."""

GRACE_MS = 2000
"""How long a claim may have no job, or a job no lease, before it counts as lost."""

JOB = ("claim", "job", "claims", "account")
"""Fields of a party's record that say what became of its job."""

BATCH = 5000
"""Most parties that one sweep reads, or that it claims as due."""

LEADER_MS, ASK = 4000, 1.0
"""How long a sweeper stays one without a word; seconds after which it gives that word."""


class Sweeper:
    """Sweeps while *worker* is the sweeper; *suspects* may have lost their jobs.

    Of many dirty parties a sweep reads a part; the next one has *begun* behind it.
    """

    def __init__(self, context: Context, worker: str) -> None:
        self.context, self.worker = context, worker
        self.redis: Any = context.redis
        # The sweeper has its own thread, and so its own connections.
        learn = context.throttle.learn
        self.vitally = context.client(observe=learn, after=context.measure)
        self.suspects: dict[str, tuple[str, float]] = {}
        self.begun = 0
        self.swept = self.probed = self.shut = self.watched = 0.0
        self.is_leading, self.asked = False, float("-inf")
        self.sampled = -samples.EVERY
        self.pause = SWEEP
        self.index, self.shadow = Index(self.redis), Shadow(self.redis)
        self.is_indexed = False

    def run(self) -> None:
        """Tick until the worker stops."""
        self.context.repeat(self.tick, TICK)

    def tick(self) -> None:
        """One check: due parties, lost jobs, a refused key, others who use it."""
        now, breaker = monotonic(), self.context.breaker
        if not self.leads():
            return
        due = self.context.leases.claim("due", BATCH)
        self.context.queue.push_all(due, "next try")
        if now - self.swept >= self.pause:
            self.swept = now
            self.sweep()
            self.complete_index()
        if now - self.sampled >= samples.EVERY:
            self.sampled = now
            self.take_samples()
        if now - self.watched < ASK:
            return
        self.watched = now
        if breaker.reason() is None:
            self.probed = self.shut = now
            if self.context.throttle.wants_look():
                ask(self.context, self.vitally)
        elif now - self.probed >= breaker.patience():
            self.probed = now
            self.probe()

    def sweep(self) -> None:
        """Give every dirty party whose job is lost a new one."""
        dirty = self.redis.zcard(keys.DIRTY)
        self.pause = SLOW_SWEEP if dirty > MANY else SWEEP
        last = milliseconds(self.redis) - GRACE_MS
        self.begun = self.begun + BATCH if self.begun + BATCH < dirty else 0
        old = self.redis.zrangebyscore(
            keys.DIRTY, "-inf", last, start=self.begun, num=BATCH
        )
        before, self.suspects = self.suspects, {}
        parties = [*before, *(raw.decode() for raw in old)]
        if dirty > BATCH:  # only a part was read, but what a dead worker held is urgent
            parties += self.context.queue.taken()
        for party, number, claim, job in self._jobless([*dict.fromkeys(parties)]):
            mark = f"{number} {claim} {job}"
            first, since = before.get(party, ("", 0.0))
            since = since if first == mark else monotonic()
            if (monotonic() - since) * 1000 < GRACE_MS:
                self.suspects[party] = (mark, since)
            elif claims := self.context.leases.claim("lost", party, number):
                line = fields(party=party, job=job, delivery=claims[0].delivery)
                log.warning("requeued", extra=line)
                if job:
                    self.context.queue.forget(job)
                self.context.queue.push_all(claims, "requeued by the sweeper")

    def take_samples(self) -> None:
        """Take them, remove what is too old, and look for instances without a next step."""
        samples.take(self.redis)
        expire(
            self.redis,
            quarantine_days=self.context.settings.bridge_retention_quarantine_days,
            journal_days=self.context.settings.bridge_retention_journal_days,
        )
        if self.context.config.subscription_object:
            Objects(self.redis).recover()

    def complete_index(self) -> None:
        """Add rows of some accounts that an older version has left without one."""
        if not self.is_indexed:
            self.is_indexed = self.index.complete(self._rows)

    def _rows(self, accounts: list[str]) -> dict[str, str]:
        """Their rows; an account that cannot be computed has none until its next job."""
        rows = {}
        for name in accounts:
            try:
                for view in self.shadow.views({name: []}):
                    rows[name] = desired_state(view, self.context.config).row(view)
            except RedisError:
                raise
            except Exception:  # no account is worth a worker
                log.exception("index", extra=fields(account=name))
        return rows

    def _jobless(self, parties: list[str]) -> Iterator[tuple[str, str, str, str]]:
        """(party, number of its claim, claim, job) of the parties that nobody works on."""
        if not parties:
            return
        waiting = set(self.context.queue.waiting())
        records = each(self.redis, "hmget", map(keys.party, parties), JOB)
        rows = [[(raw or b"").decode() for raw in row] for row in records]
        later = self.redis.zmscore(keys.LATER, parties)
        with self.redis.pipeline(transaction=False) as pipe:
            for party, row in zip(parties, rows, strict=True):
                pipe.exists(keys.lease(row[3]), keys.lease(party))
            leased = pipe.execute()
        every = zip(parties, rows, later, leased, strict=True)
        for party, (claim, job, number, _), due, is_leased in every:
            is_postponed = claim == "later" and due is not None
            is_queued = claim == "queued" and job in waiting
            if not (is_postponed or is_queued or is_leased):
                yield party, number or "0", claim, job

    def probe(self) -> None:
        """Close the breaker if Vitally accepts the key again.

        A 404 to the probe says nothing about the key. After a while one write is let
        through to see whether the address is now right.
        """
        refusal = ask(self.context, self.vitally)
        if isinstance(refusal, VitallyMissingError):
            is_late = monotonic() - self.shut >= HALF_OPEN
            if is_late or "key" in (self.context.breaker.reason() or ""):
                self.context.resume_writes()

    def leads(self) -> bool:
        """Whether this worker is the sweeper now; asks Redis once a second."""
        if monotonic() - self.asked >= ASK:
            self.is_leading = leads(self.redis, keys.SWEEPER, self.worker, LEADER_MS)
            self.asked = monotonic()
        return self.is_leading

    def leave(self) -> None:
        """Remove this worker from the list, so that another can sweep at once."""
        self.asked = float("-inf")
        self.redis.zrem(keys.WORKERS, self.worker)
        if self.redis.get(keys.SWEEPER) == self.worker.encode():
            self.redis.delete(keys.SWEEPER)
