"""`python -m workers` as a process: it waits, stops, dies and is replaced."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Callback, Queue
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer

from bridge.log import content
from bridge.queue import NAME, UPDATE
from bridge.store import keys
from tests.support.desk import BETWEEN, Bench, customer, subscription
from tests.support.processes import Running
from tests.support.stack import Stack
from tests.support.waiting import eventually
from workers.rq_worker import SafeWorker

RECOVERY = 15.0
"""Seconds within which what a dead worker held is taken up: the contract's."""


@pytest.fixture
def desk(stack: Stack) -> Bench:
    return Bench(stack.redis, stack.vitally, 7.5)


@pytest.fixture
def worker(stack: Stack) -> Running:
    """A worker that is heard of."""
    running = stack.worker()
    heard(stack)
    return running


def heard(stack: Stack, workers: int = 1) -> None:
    what = f"{workers} workers"
    eventually(lambda: len(stack.figures().workers) == workers, what=what)


def in_mid_write(desk: Bench, seconds: float) -> None:
    """A worker has begun a PUT that takes so long."""
    desk.exists("acme", "By hand")
    desk.fault("delay", "PUT", seconds=seconds)
    desk.tell(customer(), subscription(unit=100))
    eventually(lambda: is_writing(desk), what="a write")


def is_writing(desk: Bench) -> bool:
    return any(one["ended"] is None for one in desk.vitally.writes())


def children(running: Running) -> list[int]:
    listed = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    return [int(pid) for pid in listed.read_text().split()]


def lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


# --- The stop -------------------------------------------------------------------------


def test_an_idle_worker_ends_at_sigterm(stack: Stack, worker: Running) -> None:
    began = time.monotonic()

    assert 0 == worker.terminate()
    assert 5 > time.monotonic() - began
    assert {} == stack.figures().workers


def test_a_worker_ends_at_sigterm_while_redis_is_away(
    stack: Stack, worker: Running
) -> None:
    stack.redis_server.kill()

    assert 0 == worker.terminate()


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_worker_ends_soon_at_sigterm_although_redis_stalls(
    stack: Stack, desk: Bench, worker: Running, *, is_busy: bool
) -> None:
    if is_busy:
        in_mid_write(desk, 1.0)
    stack.redis_server.pause()
    began = time.monotonic()

    assert 0 == worker.terminate()
    assert 13 > time.monotonic() - began


def test_a_busy_worker_finishes_its_write_at_sigterm(
    stack: Stack, desk: Bench, worker: Running
) -> None:
    in_mid_write(desk, 1.5)
    desk.tell(customer("cus_2", account="two"))

    assert 0 == worker.terminate()
    assert (1, 2) == (desk.traits()["mrr"], desk.standing().settled)
    assert "claim" not in desk.claim()
    assert ["stripe-cus_2-1"] == desk.queue.waiting()
    assert 0 == stack.redis.llen(BETWEEN)
    assert [] == stack.redis.keys(keys.lease("*"))


def test_a_worker_that_is_killed_in_mid_write_leaves_it_to_the_next(
    stack: Stack, desk: Bench, worker: Running
) -> None:
    in_mid_write(desk, 5.0)
    worker.kill()
    killed = time.monotonic()
    desk.tell(subscription(at=5, unit=200))
    stack.worker()

    eventually(lambda: desk.traits().get("mrr") == 2, RECOVERY)
    eventually(lambda: not desk.dirty(), killed + RECOVERY - time.monotonic())
    assert (3, []) == (desk.standing().settled, stack.overlaps())


# --- Redis ----------------------------------------------------------------------------


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_worker_that_starts_with_a_read_only_redis_waits_for_it(
    stack: Stack, desk: Bench, *, comes_back: bool
) -> None:
    desk.tell(customer(), subscription())
    stack.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    worker = stack.worker()
    worker.wait_for("ReadOnlyError")
    assert worker.is_alive
    if comes_back:
        stack.redis.execute_command("REPLICAOF", "NO", "ONE")
        assert eventually(stack.has("acme", mrr=450))

    assert 0 == worker.terminate()


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_worker_outlives_a_redis_that_dies(
    stack: Stack, desk: Bench, worker: Running, *, is_busy: bool
) -> None:
    if is_busy:
        in_mid_write(desk, 2.0)
    stack.redis_server.kill()
    eventually(lambda: not is_writing(desk))
    worker.wait_for("redis")
    stack.redis_server.restart()
    if not is_busy:
        desk.tell(customer(), subscription(unit=100))

    eventually(lambda: not desk.dirty(), 2 * RECOVERY, what=worker.output)
    assert 1 == desk.traits()["mrr"]
    assert worker.is_alive, worker.output
    assert 0 == stack.redis.llen(BETWEEN)


def test_a_worker_outlives_a_redis_that_stalls_in_mid_job(
    stack: Stack, desk: Bench, worker: Running
) -> None:
    in_mid_write(desk, 1.0)
    stack.redis_server.pause()
    eventually(lambda: worker.output.count("TimeoutError") > 2)
    stack.redis_server.resume()

    eventually(lambda: not desk.dirty(), RECOVERY, what=worker.output)
    assert 1 == desk.traits()["mrr"]
    assert worker.is_alive, worker.output


# --- What goes wrong in it ------------------------------------------------------------


def test_nothing_is_popped_while_the_key_is_refused(stack: Stack, desk: Bench) -> None:
    stack.vitally.rotate("another_example")
    stack.worker()
    heard(stack)
    eventually(desk.breaker.reason)
    desk.tell(customer(), customer("cus_2", account="two"))
    eventually(lambda: len(stack.vitally.log()) > 1, what="a probe")

    assert (2, []) == (desk.queue.depth(), desk.writes())
    stack.vitally.rotate("sk_test_example")
    eventually(lambda: not desk.dirty(), RECOVERY)
    assert {"acme", "two"} == {one["externalId"] for one in stack.vitally.accounts()}


def test_a_party_that_cannot_be_folded_is_parked_and_blocks_nobody(
    stack: Stack, desk: Bench
) -> None:
    """Each try is a new job; kept for days they would fill Redis."""
    desk.tell(customer("bad", account="bad"))
    row = keys.facts("stripe:bad")
    stack.redis.hset(row, "subscription:sub\tevt", b"[0, 1, 2]")
    desk.tell(customer("good", account="good"))
    worker = stack.worker()

    eventually(lambda: desk.name("good") == "Acme", RECOVERY)
    eventually(lambda: desk.due_in("bad"), what=worker.output)
    eventually(lambda: desk.check().pending == 1)
    assert 0 == desk.check().parked
    for n in range(1, 4):
        eventually(lambda n=n: desk.check().parked == n, RECOVERY)
        assert [] == stack.redis.keys(keys.lease("*"))
        assert desk.due_in("bad") is None
        desk.tell(customer("bad", account="bad", kind="updated", at=n))
    # The one before is forgotten after the party was seen as parked.
    eventually(lambda: len(stack.redis.keys("rq:job:*")) <= 2)


def test_a_failed_job_is_logged_without_its_message(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """It tells where, and no word of what a sender sent."""
    worker = SafeWorker(redis, lambda: 0.0, threading.Event(), "one")
    handled: list[str] = []

    def handler(job: Job, *exc_info: Any) -> bool:
        handled.append(job.id)
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

    assert ["job-1"] == handled
    assert ("job failed", "ValueError") == (line["message"], line["error"])
    assert line["where"][-1].startswith(f"{Path(__file__).name}:")
    assert "4242" not in str([content(record) for record in caplog.records])


def test_a_worker_runs_no_function_but_ours(redis: Redis, tmp_path: Path) -> None:
    """Whatever somebody who can write to Redis has queued there."""
    worker = SafeWorker(redis, lambda: 0.0, threading.Event(), "one")
    made = [tmp_path / "job", tmp_path / "method", tmp_path / "callback"]
    end = Callback("tests.integration.test_worker_process.touch")
    own: Any = {"connection": redis, "serializer": JSONSerializer}
    queue = Queue(NAME, **own)
    jobs = [
        queue.enqueue("os.mkdir", str(made[0])),
        queue.enqueue("pathlib.Path.mkdir", str(made[1])),
        queue.enqueue(UPDATE, str(made[2]), on_failure=end, on_success=end),
    ]
    worker.work(burst=True, logging_level="CRITICAL")

    assert [True] * 3 == [Job.fetch(job.id, **own).is_failed for job in jobs]
    assert [] == [*tmp_path.iterdir()]


def touch(job: Job, *_: Any) -> None:
    """A callback, which leaves a file."""
    Path(job.args[0]).touch()


def test_a_worker_outlives_a_job_that_is_none(stack: Stack, desk: Bench) -> None:
    """Whatever its arguments are; and what lists failed jobs outlives it, too."""
    queue = Queue(NAME, connection=stack.redis, serializer=JSONSerializer)
    for args in ((), (7,), ("stripe:cus_1", "acme")):
        queue.enqueue_call(UPDATE, args)
    foreign = [
        queue.enqueue_call("os.mkdir", ("stripe:cus_1",)),
        queue.enqueue_call(UPDATE, ("stripe:cus_1",)),
    ]
    stack.redis.hset(foreign[1].key, "data", b"no JSON")
    running = stack.worker()
    desk.tell(customer("cus_2", account="two"))

    eventually(lambda: desk.name("two") == "Acme", RECOVERY, what=running.output)
    assert 5 == len(desk.queue.failed())
    assert not stack.redis.exists(keys.party("stripe:cus_1"))
    assert 0 == running.terminate()
    assert 1 == running.output.count("worker starts")


class Circle:
    """Something that only refers to itself."""

    def __init__(self) -> None:
        self.me = self


def test_a_worker_frees_circles_between_its_jobs(redis: Redis) -> None:
    """Of themselves its processes look for them far too seldom."""
    stop = threading.Event()

    def gate() -> float:
        stop.set()
        return 0.0

    worker = SafeWorker(redis, gate, stop, "one")
    circle = weakref.ref(Circle())
    assert circle() is not None
    with pytest.raises(StopRequested):
        worker.dequeue_job_and_maintain_ttl(1)

    assert circle() is None


@pytest.mark.usefixtures("worker")
def test_a_signal_to_stop_reaches_the_main_thread_alone(
    stack: Stack, desk: Bench
) -> None:
    """It waits there while the process starts anew; another thread would use it up."""
    desk.tell(customer())
    # A worker is heard of before its threads begin, but does a job only afterwards.
    eventually(lambda: desk.name() == "Acme")
    (name,) = stack.figures().workers
    pid = name.rsplit("-", 2)[1]
    masks = {
        task.name: re.findall(r"SigBlk:\s+(\w+)", (task / "status").read_text())[0]
        for task in Path(f"/proc/{pid}/task").iterdir()
    }
    sigterm = 1 << signal.SIGTERM - 1

    assert [pid] == [
        task for task, mask in masks.items() if not int(mask, 16) & sigterm
    ]
    assert len(masks) > 1


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_that_holds_much_memory_starts_anew_and_loses_nothing(
    stack: Stack, desk: Bench, processes: int
) -> None:
    """With so low a limit after each job."""
    running = stack.worker(WORKER_MEMORY_MB=1, WORKER_PROCESSES=processes)
    for n in range(4):
        desk.tell(customer(f"cus_{n}", account=f"a{n}"))
    stack.settled()
    eventually(lambda: running.output.count("starts anew") > 1)
    heard(stack, processes)
    desk.tell(customer("cus_9", account="a9"))
    stack.settled()

    assert running.is_alive
    assert {"a0", "a1", "a2", "a3", "a9"} == {*stack.creations()}
    assert 0 == running.terminate()


# --- Several of them ------------------------------------------------------------------


def test_several_workers_are_kept_and_end_together(stack: Stack) -> None:
    keeper = stack.worker(WORKER_PROCESSES=2)
    heard(stack, 2)
    first, second = children(keeper)
    os.kill(first, signal.SIGKILL)

    def is_replaced() -> bool:
        return len(children(keeper)) == 2 and first not in children(keeper)

    eventually(is_replaced)
    heard(stack, 3)
    kept = children(keeper)
    assert second in kept
    assert 0 == keeper.terminate()
    assert not any(map(lives, kept))


@pytest.mark.parametrize("at_once", [True, False])
def test_no_worker_is_left_behind_by_a_keeper_that_is_killed(
    stack: Stack, *, at_once: bool
) -> None:
    """Not even before its workers could ask the kernel to tell them."""
    keeper = stack.worker(WORKER_PROCESSES=2)
    if not at_once:
        heard(stack, 2)
    kept = eventually(lambda: children(keeper))
    os.kill(keeper.pid, signal.SIGKILL)

    eventually(lambda: not any(map(lives, kept)))
