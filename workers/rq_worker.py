"""The RQ worker: no fork, one queue, and a stop that loses no job.

RQ raises StopRequested from its signal handler, which can happen between the pop of a
job and its start (rq/rq#2236). Here the handler only sets a flag, which is checked in
one place: before a pop.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout, StopRequested
from rq.job import Job
from rq.job_lifecycle import call_exception_handlers
from rq.serializers import JSONSerializer

from bridge.log import ABOUT, fields
from bridge.queue import NAME, party_of
from workers.memory import give_memory_back

log = logging.getLogger("workers")

WORKER_TTL = 18
"""Seconds after which RQ removes a silent worker from its own list."""

BLOCK = 2
"""Most seconds that a pop blocks, and so that an idle worker takes to stop."""

Gate = Callable[[], float]
"""Seconds during which no job may be popped; raises StopRequested to end."""


class OurJob(Job):
    """A job of ours or none, so that whoever writes into Redis runs no code of theirs.

    RQ would import whatever function a job names, also as a callback.
    """

    success_callback = failure_callback = stopped_callback = None

    @property
    def func(self) -> Any:
        """The function; raises ValueError where it is none of ours."""
        if not party_of(self):
            raise ValueError("no job of the bridge")
        return super().func


class SafeWorker(SimpleWorker):
    """One worker process: no fork per job, keep-alive to Vitally."""

    def __init__(
        self, redis: Redis, gate: Gate, stop: threading.Event, name: str
    ) -> None:
        self._gate, self._stop_flag = gate, stop
        ours: Any = {"connection": redis, "serializer": JSONSerializer}
        ours["job_class"] = OurJob
        super().__init__(
            [Queue(NAME, **ours)],
            **ours,
            name=name,
            worker_ttl=WORKER_TTL,
            maintenance_interval=30,
            default_result_ttl=0,
            log_job_description=False,
        )

    @property
    def connection_timeout(self) -> int:
        """Seconds that Redis has to answer; a pop blocks for at most BLOCK."""
        return BLOCK + 3

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for the gate and a job, and check for a stop between tries.

        RQ's own loop sends a heartbeat before it pops; without Redis it would never reach
        the check for a stop.
        """
        while not self._stop_flag.is_set():
            try:
                self.heartbeat()
                if self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()  # type: ignore[no-untyped-call]
                    give_memory_back()
                closed = self._gate()
                if closed or self._stop_flag.is_set():
                    self._stop_flag.wait(min(closed, 1.0))
                    continue
                return self.queue_class.dequeue_any(
                    self._ordered_queues,
                    min(timeout, BLOCK) if timeout else timeout,
                    connection=self.connection,
                    job_class=self.job_class,
                    serializer=self.serializer,
                    death_penalty_class=self.death_penalty_class,
                )
            except DequeueTimeout:
                continue
            except (RedisConnectionError, RedisTimeoutError) as error:
                log.warning("redis", extra=fields(reason=type(error).__name__))
                self._stop_flag.wait(1.0)
        raise StopRequested

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Log where a job failed, without the message, because it may quote a sender."""
        log.error("job failed", exc_info=exc_info[1], extra=fields(job=job.id))
        ABOUT.set({})
        call_exception_handlers(self._exc_handlers, job, *exc_info)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop after the current job; a second signal changes nothing."""
        self._stop_requested = True
        self._stop_flag.set()

    request_force_stop = request_stop

    def subscribe(self) -> None:
        """Do not listen for RQ's commands: they cost a thread and a connection."""

    def unsubscribe(self) -> None:
        """Nothing was subscribed."""
