"""The queue, the only module that uses RQ to queue. A job is a key; it carries no facts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2s
from typing import Any, NamedTuple

from redis import Redis
from rq import Queue as RqQueue
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from bridge.log import plain
from bridge.store import keys
from bridge.store.lease import Claim

NAME = "bridge"
"""The only queue: a worker that listens to two can lose a job (see RQ's docs)."""

CREATE = "workers.jobs.create_account"
UPDATE = "workers.jobs.update_traits"

URGENT = "-urgent"
"""How the id of a job ends that goes to the front of the queue."""

JOB_TIMEOUT = 90
"""Seconds; far more than a job's own deadlines add up to."""

KEEP_FAILED = 86_400
"""Seconds that a failed job stays in the dashboard."""

HARMLESS = str.maketrans("<>&", "()+")
"""Replaces the characters that have a meaning in HTML."""

LONGEST = 500
"""Most characters of a description."""


MOST_FAILED = 200
"""Most failed jobs that are read."""

PLACE = re.compile(r'File ".*?((?:bridge|workers)/[\w/]+\.py)", line')
"""The file of our own in a line of a traceback."""

ERROR = re.compile(r'^  File ".*\n(?:  .*\n)*([\w.]+)', re.MULTILINE)
"""The error's name, after the lines of its frames; what follows may quote a sender."""


class FailedJob(NamedTuple):
    """A job of *party* that failed at *ended_at* (ms).

    The *reason* names the error and where it was raised, not its message, which may
    quote a sender.
    """

    id: str
    party: str
    ended_at: int
    reason: str


class Queue:
    """Queues jobs, and looks up what became of one."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._rq = RqQueue(
            NAME,
            connection=redis,
            serializer=JSONSerializer,
            default_timeout=JOB_TIMEOUT,
        )

    def push(self, claim: Claim, cause: str, *, creates: bool = False) -> str:
        """Queue a job for a claimed party and mark the claim as queued; its id.

        *cause* is what a person reads in a queue dashboard, beside the delivery. One
        transaction: the job and the claim's mark are there together or not at all.
        """
        party = claim.party
        id_ = job_id(party, claim.number) + (URGENT if claim.urgent else "")
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.multi()
            self._rq.enqueue_call(
                CREATE if creates else UPDATE,
                args=(party,),
                job_id=id_,
                description=_described(claim, cause),
                result_ttl=0,
                failure_ttl=KEEP_FAILED,
                at_front=claim.urgent,
                pipeline=pipe,
            )
            pipe.hset(keys.party(party), mapping={"claim": "queued", "job": id_})
            pipe.execute()
        return id_

    def push_all(self, claims: Iterable[Claim], cause: str) -> None:
        """Queue a job for each claim."""
        for claim in claims:
            self.push(claim, cause)

    def waiting(self) -> list[str]:
        """Ids of the jobs that wait, first come first."""
        return self._rq.get_job_ids()

    def taken(self) -> list[str]:
        """Parties of the jobs that workers have popped and not ended."""
        ids = self._rq.intermediate_queue.get_job_ids()
        ids += StartedJobRegistry(queue=self._rq).get_job_ids(cleanup=False)
        jobs = Job.fetch_many(ids, self._redis, serializer=JSONSerializer)
        return [party for job in jobs if job and (party := party_of(job))]

    def is_urgent(self) -> bool:
        """Whether the first job that waits was put at the front."""
        first: Any = self._redis.lindex(self._rq.key, 0)
        return first is not None and first.decode().endswith(URGENT)

    def depth(self) -> int:
        """How many jobs wait."""
        return int(self._redis.llen(self._rq.key))

    def forget(self, id_: str) -> None:
        """Remove every trace of a job that is lost; none is no error."""
        self._redis.lrem(self._rq.intermediate_queue_key, 0, id_)
        try:
            job = Job.fetch(id_, connection=self._redis, serializer=JSONSerializer)
        except NoSuchJobError:
            return
        StartedJobRegistry(queue=self._rq).remove_executions(job)
        job.delete()

    def failed(self) -> list[FailedJob]:
        """Return the jobs that failed last, newest first."""
        registry = FailedJobRegistry(queue=self._rq)
        ids = registry.get_job_ids(0, MOST_FAILED - 1, desc=True, cleanup=False)
        jobs = Job.fetch_many(ids, self._redis, serializer=JSONSerializer)
        return [_failed(job) for job in jobs if job is not None]


def _failed(job: Job) -> FailedJob:
    result = job.latest_result()
    text = (result.exc_string if result else None) or ""
    places = PLACE.findall(text)
    kinds = ERROR.findall(text) or [text.partition(":")[0]]
    ended = job.ended_at or job.enqueued_at or job.created_at
    reason = " at ".join([kinds[-1] or "no traceback", *places[-1:]])
    return FailedJob(job.id, party_of(job), int(ended.timestamp() * 1000), reason)


def party_of(job: Job) -> str:
    """Whose *job* it is; "": it is none of ours."""
    with suppress(DeserializationError):
        match job.func_name, job.instance, job.args:
            case str(name), None, [str(party)] if name in {CREATE, UPDATE}:
                return party
    return ""


def job_id(party: str, claim: int) -> str:
    """A readable id; RQ allows letters, digits, `_` and `-` alone."""
    stem, source = re.sub(r"[^A-Za-z0-9_]", "-", party), party.partition(":")[0]
    if stem != party.replace(":", "-", 1) or "-" in source:
        stem = f"{stem[:80]}-{blake2s(party.encode(), digest_size=4).hexdigest()}"
    return f"{stem}-{claim}"


def _described(claim: Claim, cause: str) -> str:
    """What a person reads of the job, on one line and without what a browser obeys.

    A sender chose both; dashboards and logs of RQ show them as they stand.
    """
    delivery = f" (delivery {claim.delivery})" if claim.delivery else ""
    text = plain(f"{claim.party} ← {cause}").translate(HARMLESS)
    return text[: LONGEST - len(delivery)] + delivery
