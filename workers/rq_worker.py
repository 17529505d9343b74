"""The RQ worker: in this process, one queue, and a stop that strands no job.

RQ raises StopRequested from its signal handler, which can fall between the pop of a
job and its start (rq/rq#2236). Here the handler sets a flag alone, and the flag is
honoured in one place: before a pop.
"""

from __future__ import annotations

import logging
import signal
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

from bridge.log import fields
from bridge.queue import NAME

log = logging.getLogger("workers")

WORKER_TTL = 18
"""Seconds after which RQ takes a silent worker off its own list."""

BLOCK = 2
"""Seconds that a pop blocks at most, and so a stop waits at most while idle."""

Gate = Callable[[], float]
"""Seconds for which nothing is to be popped; raises StopRequested to end."""


class SafeWorker(SimpleWorker):
    """One worker process: no fork per job, keep-alive to Vitally."""

    def __init__(
        self, redis: Redis, gate: Gate, stop: threading.Event, name: str
    ) -> None:
        self._gate, self._stop_flag = gate, stop
        super().__init__(
            [Queue(NAME, connection=redis, serializer=JSONSerializer)],
            name=name,
            connection=redis,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL,
            maintenance_interval=30,
            default_result_ttl=0,
            log_job_description=False,
        )

    @property
    def connection_timeout(self) -> int:
        """Seconds that Redis has for an answer: a pop blocks for BLOCK at most."""
        return BLOCK + 3

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for the gate and a job; between tries a stop is asked for.

        RQ's own loop beats before it pops, so that without a Redis it never comes to
        the place where a stop is honoured.
        """
        while not self._stop_flag.is_set():
            try:
                self.heartbeat()
                if self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()  # type: ignore[no-untyped-call]
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
        """Log where a job failed, and no word of the message: it may quote a sender."""
        log.error("job failed", exc_info=exc_info[1], extra=fields(job=job.id))
        call_exception_handlers(self._exc_handlers, job, *exc_info)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Ask for the end after the job in hand; asking twice changes nothing."""
        self._stop_requested = True
        self._stop_flag.set()

    request_force_stop = request_stop

    def subscribe(self) -> None:
        """Take no commands over pub/sub: a thread and a connection for nothing."""

    def unsubscribe(self) -> None:
        """Nothing was subscribed."""


def on_signals(stop: threading.Event) -> None:
    """Let SIGTERM and SIGINT set *stop*, also before RQ has its own handlers."""

    def asked(signum: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
