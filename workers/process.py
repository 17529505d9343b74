"""One worker process: made once, works until it is told to stop, waits for Redis."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import StopRequested
from rq.job import Job

from bridge.config import Config
from bridge.errors import VitallyError, VitallyKeyError
from bridge.log import fields, places
from bridge.queue import Queue
from bridge.settings import Settings
from bridge.sources import switched_on
from bridge.store.accept import Accept
from bridge.store.catalogue import Spread
from bridge.store.connect import connect
from bridge.store.lease import Leases
from bridge.store.operator import Breaker, paused
from bridge.store.refresh import Refreshes
from bridge.vitally.client import Vitally
from bridge.vitally.replies import Rate
from workers import retry
from workers.heartbeat import Heartbeat, HeldLease
from workers.jobs import JOBS, Jobs
from workers.refresh import Refresh
from workers.rq_worker import SafeWorker
from workers.sweep import Sweeper
from workers.sync import AccountSync
from workers.throttle import Throttle
from workers.write import Writer

log = logging.getLogger("workers")

TIMEOUT = 5.0
"""Seconds that the state's Redis calls may take; a job is never in a hurry."""

NEAR_MS = 1000
"""A slot of the throttle this near is waited for inside the job."""

HICCUP_MS = 1000
"""After a Redis that was away in the middle of a job."""

LAST_WORD = 17.0
"""Seconds after the wish to stop at which the process ends whatever it waits for: only
a Redis that stalls takes so long, and a kill loses nothing."""


def _fault(job: Job, error: BaseException) -> str:
    """Say what went wrong in our code; never the message, which may quote a sender."""
    where = places(error)[-1:]
    return (
        f"a fault of the bridge: {' at '.join([type(error).__name__, *where])}; "
        f"its traceback is in the failed job {job.id}"
    )


class Process:
    """Everything one worker process holds."""

    def __init__(
        self, settings: Settings, config: Config, name: str, stop: threading.Event
    ) -> None:
        self.settings, self.name, self.stop = settings, name, stop
        self.done = threading.Event()
        self.turns = 0
        self.paused: str | None = None
        self.redis = self._connect()
        self.queue = Queue(self.redis)
        self.breaker = Breaker(self.redis)
        self.throttle = Throttle(self.redis, settings.vitally_budget_share)
        self.leases = Leases(self.redis)
        self.vitally = self._client(self.throttle.learn)
        self.held = HeldLease()
        self.jobs = self._jobs(config)
        self.heartbeat = self._heartbeat()
        self.sweeper = self._sweeper()
        self.beating = threading.Thread(target=self.heartbeat.run, daemon=True)
        self.sweeping = threading.Thread(target=self.sweeper.run, daemon=True)

    def _jobs(self, config: Config) -> Jobs:
        values = self.settings.sources
        on = switched_on(values)
        made = {source.name: source.api(values) for source in on}
        apis = {name: api for name, api in made.items() if api}
        sync = AccountSync(
            leases=self.leases,
            queue=self.queue,
            breaker=self.breaker,
            throttle=self.throttle,
            writer=Writer(self.vitally, self.leases, self.throttle, self.stop),
            settings=self.settings,
            config=config,
            refresh=Refresh(
                leases=self.leases,
                refreshes=Refreshes(self.redis),
                queue=self.queue,
                held=self.held,
                policy=config.policy,
                apis=apis,
            ),
            stop=self.stop,
            chance=random.random,
            held=self.held,
        )
        return Jobs(
            sync=sync,
            redis=self.redis,
            leases=self.leases,
            queue=self.queue,
            held=self.held,
            accept=Accept(self.redis),
            spread=Spread(self.redis),
            apis=apis,
            keys_needed={source.name: source.key for source in on},
        )

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(
            worker=self.name,
            redis=self.redis,
            leases=self.leases,
            held=self.held,
            stop=self.done,
        )

    def _sweeper(self) -> Sweeper:
        return Sweeper(
            worker=self.name,
            redis=self.redis,
            leases=self.leases,
            queue=self.queue,
            breaker=self.breaker,
            vitally=self._client(),
            stop=self.stop,
        )

    def run(self) -> int:
        """Work until the stop; return the exit status."""
        self._say_what_runs()
        threading.Thread(target=self._last_word, daemon=True).start()
        if not self._wait_for_redis():
            return 0
        JOBS.set(self.jobs)
        while not self._begins():
            if self.stop.wait(1.0):
                return 0
        self.beating.start()
        self.sweeping.start()
        while not self.stop.is_set():
            try:
                self._work()
            except RedisError as error:
                log.warning("redis", extra=fields(reason=type(error).__name__))
                self.stop.wait(1.0)
            if not self._is_well() and not self.stop.is_set():
                log.critical("a thread died; this process ends to be restarted")
                return 70
        self.done.set()
        self.sweeping.join(timeout=5.0)
        try:
            self.sweeper.leave()
        except RedisError:
            log.warning("redis was away at the end; the list forgets us by itself")
        log.info("stopped", extra=fields(worker=self.name))
        return 0

    def _begins(self) -> bool:
        """Whether a Redis that answers can be written to, too; a replica cannot."""
        try:
            self._probe()
            self.jobs.resume()
            self.heartbeat.beat()
        except RedisError as error:
            log.warning("redis", extra=fields(reason=type(error).__name__))
            return False
        return True

    def gate(self) -> float:
        """Seconds for which nothing is to be popped."""
        if not self._is_well():
            raise StopRequested
        if self.breaker.reason() or self._is_paused():
            return 1.0
        wait = self.throttle.wait()
        return wait / 1000 if wait > NEAR_MS else 0.0

    def _is_paused(self) -> bool:
        """Whether somebody has stopped all writes by hand; a change is logged once."""
        before, self.paused = self.paused, paused(self.redis)
        if self.paused != before:
            what = "writes resumed" if self.paused is None else "writes paused by hand"
            log.warning(what, extra=fields(reason=self.paused))
        return self.paused is not None

    def _last_word(self) -> None:
        self.stop.wait()
        time.sleep(LAST_WORD)
        log.warning("ended in the middle of a wait for redis; nothing is lost")
        os._exit(0)

    def _is_well(self) -> bool:
        return self.sweeping.is_alive() and self.beating.is_alive()

    def crashed(self, job: Job, *exc_info: Any) -> bool:
        """RQ's exception handler: the party is tried once more, then parked."""
        error = exc_info[1]
        try:
            party = str(job.args[0])
            if isinstance(error, RedisError):
                self.queue.push_all(self.leases.postpone(party, HICCUP_MS), "")
                return True
            parked, before = self.leases.record_crash(party, job.id, _fault(job, error))
            if not parked:
                later = self.leases.postpone(party, retry.CRASH_MS)
                self.queue.push_all(later, "")
            if before:
                self.queue.forget(before)
        except RedisError:
            log.warning("the sweeper will queue it again", extra=fields(job=job.id))
        return True

    def _work(self) -> None:
        # A name of its own each time: RQ refuses one that it has not seen leave, and
        # a Redis that went away did not see it.
        self.turns += 1
        name = f"{self.name}-{self.turns}"
        worker = SafeWorker(self._connect(), self.gate, self.stop, name)
        worker.push_exc_handler(self.crashed)  # type: ignore[no-untyped-call]
        worker.work(logging_level="WARNING")

    def _connect(self) -> Redis:
        return connect(
            self.settings.redis_url,
            verify_tls=self.settings.redis_tls_verify,
            timeout=TIMEOUT,
            most=4,
        )

    def _client(self, observe: Callable[[Rate], None] | None = None) -> Vitally:
        return Vitally(
            self.settings.vitally_base_url,
            self.settings.vitally_authorization,
            observe=observe,
        )

    def _say_what_runs(self) -> None:
        on = [source.name for source in switched_on(self.settings.sources)]
        log.info(
            "worker starts",
            extra=fields(
                worker=self.name,
                sources=on or "none is switched on",
                vitally=self.settings.vitally_base_url,
                dry_run=self.settings.bridge_dry_run,
            ),
        )

    def _wait_for_redis(self) -> bool:
        told = False
        while not self.stop.is_set():
            try:
                self.redis.ping()
            except RedisError as error:
                if not told:
                    log.warning(
                        "waiting for redis", extra=fields(reason=type(error).__name__)
                    )
                told = True
                self.stop.wait(1.0)
            else:
                return True
        return False

    def _probe(self) -> None:
        """See at the start whether Vitally takes the key."""
        try:
            self.vitally.probe()
        except VitallyKeyError as error:
            reason = f"Vitally refuses the key ({error.status}): {error.reason}"
            if self.breaker.open(reason):
                log.critical("writes stopped", extra=fields(reason=reason))
        except VitallyError as error:
            log.warning(
                "vitally", extra=fields(reason=error.reason, status=error.status)
            )
        else:
            if self.breaker.close():
                log.warning("writes resumed")
