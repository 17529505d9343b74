"""One worker process: works until it is stopped, and waits while Redis is down."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import StopRequested
from rq.job import Job

from bridge.alerts import Alerts
from bridge.config import Config
from bridge.domain.account import MEMBER_OF
from bridge.errors import LostLeaseError
from bridge.log import fields, where
from bridge.queue import party_of
from bridge.settings import Settings
from bridge.sources import options
from bridge.store import keys
from bridge.store.connect import connect, info, milliseconds
from bridge.store.health import Watch
from bridge.store.lease import APART_MS
from bridge.store.operator import paused
from bridge.store.samples import mark_changes
from bridge.store.shadow import Shadow
from bridge.store.view import Lease
from workers import outcomes
from workers.complete import Completing
from workers.context import Context
from workers.jobs import JOBS, Jobs
from workers.memory import memory_mb
from workers.probes import Probes, ask
from workers.reconcile import Schedule
from workers.rq_worker import SafeWorker
from workers.sweep import Sweeper

log = logging.getLogger("workers")

TIMEOUT = 5.0
"""Seconds that a call to Redis may take; jobs can wait."""

NEAR_MS = 1000
"""A slot of the throttle this near is waited for inside the job."""

HICCUP_MS = 1000
"""Wait after Redis went down in the middle of a job."""

IDLE_DEADLINE, STOP_DEADLINE = 8.0, 17.0
"""Seconds after SIGTERM at which the process ends even if it still waits: without an account
in hand, and with one. Only a stalled Redis takes so long, and nothing is lost."""

BEAT = 1.0
"""Seconds between two heartbeats."""

DEADLINE = 75.0
"""Seconds after which a job that still holds its lease counts as stuck."""

STUCK = 2 * DEADLINE
"""Seconds after which a worker that neither ends a job nor looks for one passes for dead,
so that it is started again."""

EMPTIED_S = 7 * 86_400
"""For how long it is said that Redis came back empty, unless a backfill ends it."""

STOPS = {signal.SIGTERM, signal.SIGINT}

RENEW = -1
"""Instead of an exit status: the process holds much memory, and starts anew."""

FORGOTTEN_MS = 60_000
"""A worker that is silent for this long is removed from the list."""


@contextmanager
def unsignalled() -> Iterator[None]:
    """Start threads in here that no signal to stop reaches.

    One that the main thread lets wait (`_renew`) would be lost to them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


class Process:
    """Everything one worker process holds."""

    def __init__(
        self, settings: Settings, config: Config, name: str, stop: threading.Event
    ) -> None:
        self.settings, self.name, self.stop = settings, name, stop
        self.redis = self._connect()
        self.context = Context(settings, config, self.redis, stop)
        self.jobs = Jobs(self.context)
        self.sweeper = Sweeper(self.context, name)
        self.schedule = Schedule(self.context, name)
        self.completing = Completing(self.context, name)
        self.turns = 0
        self.paused: str | None = None
        self.lost: Lease | None = None
        self.done = threading.Event()
        # It beats until the last job is done, even after SIGTERM.
        beats = partial(self.context.repeat, self._beat, BEAT, self.done)
        check, probes = Watch.of(self.redis, settings).check, Probes(self.context).run
        alerts = Alerts(self.redis, settings, check, self.sweeper.leads, probes)
        alert = partial(alerts.run, stop)
        runs = (self.sweeper.run, beats, self.schedule.run, self.completing.run, alert)
        self.threads = [threading.Thread(target=run, daemon=True) for run in runs]

    def run(self) -> int:
        """Work until stopped; return the exit status, RENEW to be started again at once."""
        line = fields(
            worker=self.name,
            sources=[*self.context.keys_needed] or "none is switched on",
            vitally=self.settings.vitally_base_url,
            dry_run=self.settings.bridge_dry_run,
        )
        log.info("worker starts", extra=line)
        for doubt in self.settings.doubts:
            log.warning("settings", extra=fields(reason=doubt))
        with unsignalled():
            threading.Thread(target=self._end_in_time, daemon=True).start()
        if not self._begin():
            return 0
        JOBS.set(self.jobs)
        with unsignalled():
            for thread in self.threads:
                thread.start()
        if (status := self._until_stopped()) > 0:
            return status
        self.done.set()
        self.threads[0].join(timeout=5.0)
        try:
            self.sweeper.leave()
            self.context.durations.flush(self.redis)
        except RedisError:
            log.warning(
                "redis was down at the end; our entry among the workers expires"
            )
        log.info("stopped", extra=fields(worker=self.name))
        return status

    def _until_stopped(self) -> int:
        """Do jobs; above 0 if the process must end at once."""
        while not self.stop.is_set():
            try:
                self._work()
            except RedisError as error:
                log.warning("redis", extra=fields(reason=type(error).__name__))
                self.stop.wait(1.0)
            if not self._is_well() and not self.stop.is_set():
                log.critical("a thread died; this process ends to be restarted")
                return 70
            if self._is_large() and not self.stop.is_set():
                return self._renew()
        return 0

    def _is_large(self) -> bool:
        return self.jobs.done > 0 and memory_mb() > self.settings.worker_memory_mb

    def _renew(self) -> int:
        """End to start anew. A signal from now on waits for the next start."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        log.info("starts anew", extra=fields(worker=self.name, mb=round(memory_mb())))
        self.stop.set()
        return RENEW

    def _begin(self) -> bool:
        """Wait until Redis can be written to; False: the worker must stop."""
        is_waiting = False
        while not self.stop.is_set():
            try:
                self.redis.ping()
                self._probe()
                self.jobs.resume()
                self._set_up()
                self._beat()
            except RedisError as error:
                if not is_waiting:
                    extra = fields(reason=type(error).__name__)
                    log.warning("waiting for redis", extra=extra)
                is_waiting = True
                self.stop.wait(1.0)
            else:
                return True
        return False

    def _set_up(self) -> None:
        """Note our settings; begin a dry run, or let be written what an earlier one left."""
        mark_changes(self.redis, self.settings, self.context.rules, options())
        if not self.context.config.subscription_object:
            self.redis.delete(keys.OBJECTS_LATE, keys.OBJECTS_REST)
        leases = self.context.leases
        if self.context.config.traits.get(MEMBER_OF):
            # A worker of a version that knows none has taken some for customers.
            leases.look_again(Shadow(self.redis).unclaimed(), APART_MS)
        if self.context.settings.bridge_dry_run:
            leases.begin_dry_run()
        elif parties := leases.end_dry_run():
            log.info("the dry run is over", extra=fields(parties=parties))

    def _probe(self) -> None:
        """Check at the start whether Vitally accepts the key."""
        refusal = ask(self.context, self.context.vitally)
        if refusal is not None:
            extra = fields(reason=refusal.brief, status=refusal.status)
            log.warning("vitally", extra=extra)

    def _work(self) -> None:
        # A new name each time: RQ refuses a name that has not been deregistered, as
        # happens if Redis goes down.
        self.turns += 1
        name = f"{self.name}-{self.turns}"
        worker = SafeWorker(self._connect(), self.gate, self.stop, name)
        worker.push_exc_handler(self.crashed)  # type: ignore[no-untyped-call]
        worker.work(logging_level="WARNING")

    def gate(self) -> float:
        """Seconds during which no job may be popped."""
        if not self._is_well() or self._is_large():
            raise StopRequested
        self.jobs.turned = time.monotonic()
        self._note_pause()
        throttle = self.context.throttle
        wait = throttle.wait()
        if wait > NEAR_MS and self.context.queue.is_urgent():
            wait = throttle.wait(urgent=True)
        return wait / 1000 if wait > NEAR_MS else 0.0

    def _note_pause(self) -> None:
        """Log once that somebody has stopped all writes by hand, or lets them go on."""
        before, self.paused = self.paused, paused(self.redis)
        if self.paused != before:
            what = "writes resumed" if self.paused is None else "writes paused by hand"
            log.warning(what, extra=fields(reason=self.paused))

    def crashed(self, job: Job, *exc_info: Any) -> bool:
        """RQ's exception handler: try the party once more, then park it."""
        if not (party := party_of(job)):
            return True
        leases, error = self.context.leases, exc_info[1]
        # Never the message of an error, which may quote a sender.
        raised = f"an error in the bridge: {where(error)}"
        why = f"{raised}; its traceback is in the failed job {job.id}"
        try:
            if isinstance(error, RedisError):
                leases.postpone(party, HICCUP_MS)
                return True
            parked, before = leases.record_crash(party, job.id, why)
            if not parked:
                leases.postpone(party, outcomes.CRASH_MS)
            if before:
                self.context.queue.forget(before)
        except RedisError:
            log.warning("the sweeper will queue it again", extra=fields(job=job.id))
        return True

    def _beat(self) -> None:
        """Report that the worker is alive and not stuck, and renew the lease of its job.

        Leases are short, so that those of a dead worker expire soon. A living worker
        renews its lease until the job's own deadline.
        """
        leases = self.context.leases
        lease = leases.held
        if lease and time.monotonic() - leases.since < DEADLINE:
            try:
                leases.renew(lease)
            except LostLeaseError:
                # A job that has just ended has given it back, and needs it no more.
                if leases.held == lease != self.lost:
                    self.lost = lease
                    log.warning("lease lost", extra=fields(account=lease.account))
        now = milliseconds(self.redis)
        with self.redis.pipeline() as pipe:
            if time.monotonic() - self.jobs.turned < STUCK:
                pipe.zadd(keys.WORKERS, {self.name: now})
            pipe.zremrangebyscore(keys.WORKERS, "-inf", now - FORGOTTEN_MS)
            pipe.exists(keys.SETUP)
            *_, is_set_up = pipe.execute()
        if not is_set_up:
            # Where Redis evicts, that key alone may be gone.
            if not info(self.redis, "stats").get("evicted_keys"):
                words = "redis came back empty: a backfill reads all customers again"
                log.critical(words)
                self.redis.set(keys.EMPTIED, now, ex=EMPTIED_S)
            self._set_up()
        self.context.durations.flush(self.redis)

    def _end_in_time(self) -> None:
        self.stop.wait()
        time.sleep(IDLE_DEADLINE)
        if self.context.leases.held:
            time.sleep(STOP_DEADLINE - IDLE_DEADLINE)
        log.warning("ended in the middle of a wait for redis; nothing is lost")
        os._exit(0)

    def _is_well(self) -> bool:
        return all(thread.is_alive() for thread in self.threads)

    def _connect(self) -> Redis:
        settings = self.settings
        verify = settings.redis_tls_verify
        return connect(settings.redis_url, verify_tls=verify, timeout=TIMEOUT, most=4)
