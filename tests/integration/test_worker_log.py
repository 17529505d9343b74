"""What a worker logs of a job that failed: where, and no word of what a sender sent."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from bridge.log import content
from workers.rq_worker import SafeWorker


def test_a_failed_job_is_logged_without_its_message(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    worker = SafeWorker(redis, lambda: 0.0, threading.Event(), "one")
    seen: list[str] = []

    def handler(job: Job, *exc_info: Any) -> bool:
        seen.append(job.id)
        return True

    worker.push_exc_handler(handler)  # type: ignore[no-untyped-call]
    job = Job.create(
        "workers.jobs.update_traits",
        args=("stripe:cus_1",),
        id="job-1",
        connection=redis,
        serializer=JSONSerializer,
    )
    caplog.set_level(logging.DEBUG)
    try:
        int("card 4242")
    except ValueError:
        worker.handle_exception(job, *sys.exc_info())
    (line,) = [content(r) for r in caplog.records if r.levelname == "ERROR"]

    assert ["job-1"] == seen
    assert ("job failed", "ValueError") == (line["message"], line["error"])
    assert line["where"][-1].startswith("test_worker_log.py:")
    assert "4242" not in str([content(record) for record in caplog.records])
