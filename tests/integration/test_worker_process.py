"""`python -m workers` as a process: it waits, stops, dies and is replaced."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from bridge.store import keys
from tests.support.desk import BETWEEN, Bench, customer, subscription
from tests.support.processes import Running
from tests.support.stack import Stack
from tests.support.waiting import eventually

RECOVERY = 15.0
"""Seconds within which what a dead worker held is taken up: the contract's."""


def desk(stack: Stack) -> Bench:
    return Bench(stack.redis, stack.vitally, 7.5)


def heard(stack: Stack, workers: int = 1) -> None:
    what = f"{workers} workers"
    eventually(lambda: len(stack.figures().workers) == workers, 20, what=what)


def flying(stack: Stack) -> list[dict[str, Any]]:
    """Writes that have begun and are not answered yet."""
    return [one for one in stack.vitally.writes() if one["ended"] is None]


def put(seconds: float, **match: str) -> dict[str, Any]:
    """A fault: the next PUT takes so long."""
    return {"kind": "delay", "match": {"method": "PUT", **match}, "seconds": seconds}


def children(running: Running) -> list[int]:
    listed = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    return [int(pid) for pid in listed.read_text().split()]


def lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_an_idle_worker_ends_at_sigterm(stack: Stack) -> None:
    worker = stack.worker()
    heard(stack)
    began = time.monotonic()

    assert 0 == worker.terminate()

    assert 5 > time.monotonic() - began
    assert {} == stack.figures().workers


def test_a_worker_ends_at_sigterm_while_redis_is_away(stack: Stack) -> None:
    worker = stack.worker()
    heard(stack)
    stack.redis_server.kill()

    assert 0 == worker.terminate()


def test_a_busy_worker_ends_at_sigterm_although_redis_stalls(stack: Stack) -> None:
    worker = stack.worker()
    heard(stack)
    bench = desk(stack)
    stack.vitally.break_with([put(1.0)])
    bench.tell(customer())
    eventually(lambda: flying(stack))
    stack.redis_server.pause()

    assert 0 == worker.terminate()


def test_a_busy_worker_finishes_its_write_at_sigterm(stack: Stack) -> None:
    worker = stack.worker()
    heard(stack)
    bench = desk(stack)
    bench.exists("acme", "By hand")
    stack.vitally.break_with([put(1.5)])
    bench.tell(customer(), subscription(unit=100))
    bench.tell(customer("cus_2", account="two"))
    eventually(lambda: flying(stack))

    assert 0 == worker.terminate()

    assert 1 == bench.traits()["mrr"]
    assert "claim" not in bench.claim()
    assert 2 == bench.standing().settled
    assert ["stripe-cus_2-1"] == bench.queue.waiting()
    assert 0 == stack.redis.llen(BETWEEN)
    assert [] == stack.redis.keys(keys.lease("*"))


def test_a_worker_that_is_killed_in_mid_write_leaves_it_to_the_next(
    stack: Stack,
) -> None:
    worker = stack.worker()
    heard(stack)
    bench = desk(stack)
    bench.exists("acme", "By hand")
    stack.vitally.break_with([put(5.0)])
    bench.tell(customer(), subscription(unit=100))
    eventually(lambda: flying(stack))
    worker.kill()
    killed = time.monotonic()
    bench.tell(subscription(at=5, unit=200))
    stack.worker()

    eventually(lambda: bench.traits().get("mrr") == 2, RECOVERY)
    left = killed + RECOVERY - time.monotonic()
    eventually(lambda: not bench.dirty(), left)
    assert 3 == bench.standing().settled
    assert [] == stack.overlaps()


def test_a_worker_that_starts_with_a_read_only_redis_waits_for_it(stack: Stack) -> None:
    desk(stack).tell(customer(), subscription())
    stack.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    worker = stack.worker()
    worker.wait_for("ReadOnlyError")
    assert worker.is_alive

    stack.redis.execute_command("REPLICAOF", "NO", "ONE")

    assert eventually(stack.has("acme", mrr=450), 20)
    assert 0 == worker.terminate()


def test_a_worker_that_waits_for_a_read_only_redis_ends_at_sigterm(
    stack: Stack,
) -> None:
    stack.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    worker = stack.worker()
    worker.wait_for("ReadOnlyError")

    assert 0 == worker.terminate()


def test_a_worker_outlives_a_redis_that_dies_between_jobs(stack: Stack) -> None:
    worker = stack.worker()
    heard(stack)
    stack.redis_server.kill()
    worker.wait_for("redis")
    stack.redis_server.restart()
    bench = desk(stack)
    bench.tell(customer(), subscription(unit=100))

    eventually(lambda: bench.traits()["mrr"] == 1, RECOVERY)
    assert worker.is_alive


def test_a_worker_outlives_a_redis_that_dies_in_mid_job(stack: Stack) -> None:
    worker = stack.worker()
    heard(stack)
    bench = desk(stack)
    bench.exists("acme", "By hand")
    stack.vitally.break_with([put(2.0)])
    bench.tell(customer(), subscription(unit=100))
    eventually(lambda: flying(stack))
    stack.redis_server.kill()
    eventually(lambda: not flying(stack))
    worker.wait_for("redis")
    stack.redis_server.restart()

    eventually(lambda: not bench.dirty(), 2 * RECOVERY, what=worker.output)
    assert 1 == bench.traits()["mrr"]
    assert worker.is_alive, worker.output
    assert 0 == stack.redis.llen(BETWEEN)


def test_a_worker_outlives_a_redis_that_stalls_in_mid_job(stack: Stack) -> None:
    worker = stack.worker()
    heard(stack)
    bench = desk(stack)
    bench.exists("acme", "By hand")
    stack.vitally.break_with([put(1.0)])
    bench.tell(customer(), subscription(unit=100))
    eventually(lambda: flying(stack))
    stack.redis_server.pause()
    eventually(lambda: worker.output.count("TimeoutError") > 2, 20)
    stack.redis_server.resume()

    eventually(lambda: not bench.dirty(), RECOVERY, what=worker.output)
    assert 1 == bench.traits()["mrr"]
    assert worker.is_alive, worker.output


def test_nothing_is_popped_while_the_key_is_refused(stack: Stack) -> None:
    stack.vitally.rotate("another_example")
    stack.worker()
    heard(stack)
    bench = desk(stack)
    eventually(bench.breaker.reason)
    bench.tell(customer(), customer("cus_2", account="two"))
    eventually(lambda: len(stack.vitally.log()) > 1, what="a probe")

    assert 2 == bench.queue.depth()
    assert [] == bench.writes()
    stack.vitally.rotate("sk_test_example")
    eventually(lambda: not bench.dirty(), RECOVERY)
    assert {"acme", "two"} == {one["externalId"] for one in stack.vitally.accounts()}


def test_a_party_that_cannot_be_folded_is_parked_and_blocks_nobody(
    stack: Stack,
) -> None:
    bench = desk(stack)
    bench.tell(customer("bad", account="bad"))
    row = keys.facts("stripe:bad")
    stack.redis.hset(row, "subscription:sub\tevt", b"[0, 1, 2]")
    bench.tell(customer("good", account="good"))
    worker = stack.worker()

    eventually(lambda: bench.name("good") == "Acme", RECOVERY)
    eventually(lambda: bench.due_in("bad"), what=worker.output)
    eventually(lambda: bench.check().pending == 1)
    assert 0 == bench.check().parked
    eventually(lambda: bench.check().parked == 1, RECOVERY)
    assert [] == stack.redis.keys(keys.lease("*"))
    assert bench.due_in("bad") is None


def test_a_party_that_cannot_be_folded_leaves_few_failed_jobs(stack: Stack) -> None:
    """Each try is a new job; kept for days they would fill Redis."""
    bench = desk(stack)
    bench.tell(customer("bad", account="bad"))
    row = keys.facts("stripe:bad")
    stack.redis.hset(row, "subscription:sub\tevt", b"[0, 1, 2]")
    stack.worker()
    for n in range(1, 4):
        eventually(lambda n=n: bench.check().parked == n, RECOVERY)
        bench.tell(customer("bad", account="bad", kind="updated", at=n))

    assert 2 >= len(stack.redis.keys("rq:job:*"))


def test_several_workers_are_kept_and_end_together(stack: Stack) -> None:
    keeper = stack.worker(WORKER_PROCESSES=2)
    heard(stack, 2)
    first = children(keeper)
    os.kill(first[0], signal.SIGKILL)

    def replaced() -> bool:
        now = children(keeper)
        return len(now) == 2 and first[0] not in now

    eventually(replaced, 10)
    eventually(lambda: len(stack.figures().workers) == 3, 15)
    kept = children(keeper)
    assert first[1] in kept
    assert 0 == keeper.terminate()
    assert not any(map(lives, kept))


def test_no_worker_is_left_behind_by_a_keeper_that_is_killed(stack: Stack) -> None:
    keeper = stack.worker(WORKER_PROCESSES=2)
    heard(stack, 2)
    kept = children(keeper)
    os.kill(keeper.pid, signal.SIGKILL)

    eventually(lambda: not any(map(lives, kept)), 10)


def test_a_keeper_killed_at_once_leaves_no_worker_behind(stack: Stack) -> None:
    """Before its workers could ask the kernel to tell them."""
    keeper = stack.worker(WORKER_PROCESSES=2)
    kept = eventually(lambda: children(keeper), 10)
    os.kill(keeper.pid, signal.SIGKILL)

    eventually(lambda: not any(map(lives, kept)), 10)
