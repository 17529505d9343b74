"""Redis comes back empty, or its disk is full: what can be kept is, and it is seen."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from redis import Redis

from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.chaos


def fill(redis: Redis, folder: Path) -> Path:
    """Let the append-only file go on in a place that has no room; the link to it.

    Redis writes its file anew as number n + 1, and finds that name taken.
    """
    (file,) = folder.glob("appendonlydir/appendonly.aof.*.incr.aof")
    number = int(file.name.split(".")[2])
    link = file.with_name(f"appendonly.aof.{number + 1}.incr.aof")
    link.symlink_to("/dev/full")
    redis.bgrewriteaof()
    eventually(lambda: not file.exists())
    return link


def test_a_full_disk_takes_nothing_and_loses_nothing(stack: Stack) -> None:
    web = stack.web()
    stack.worker()
    stripe, known, new = stack.ready().stripe(), Shop(), Shop()
    stripe.post(known.signs_up())
    stack.settled()
    slow = {"kind": "delay", "seconds": 1.5, "match": {"method": "PUT"}}
    stack.vitally.break_with([slow])
    assert 202 == stripe.post(known.begins()).status
    eventually(lambda: stack.vitally.writes()[-1]["ended"] is None)

    link = fill(stack.redis, stack.redis_server.folder)
    # Redis notices with its next write, and keeps that one in its memory.
    _, said = eventually(lambda: (r := web.get("/readyz"))[0] == 503 and r)
    assert "append-only file" in said
    told, begun = new.signs_up(), time.monotonic()
    assert 503 == stripe.post(told).status
    assert time.monotonic() - begun < 2
    assert 200 == web.get("/healthz")[0]
    assert eventually(stack.has(known.id, mrr=49)), "sent before, and done"

    link.unlink()
    stack.redis.bgrewriteaof()
    taken = eventually(lambda: (a := stripe.post(told)).status == 202 and a)
    assert "duplicate" != taken.receipt
    seen = stack.settled()
    assert (3, 3) == (seen.accepted, seen.settled)
    assert stack.has(known.id, mrr=49)()
    assert [known.id, new.id] == stack.creations()
    assert [] == stack.overlaps()


def test_an_empty_redis_is_worked_with_at_once_and_nobody_is_restarted(
    stack: Stack,
) -> None:
    web, worker = stack.web(), stack.worker()
    stripe, old, new = stack.ready().stripe(), Shop(), Shop()
    for told in (old.signs_up(), old.begins()):
        stripe.post(told)
    stack.settled()

    stack.redis_server.kill()
    shutil.rmtree(stack.redis_server.folder)
    stack.redis_server.restart()
    stack.ready()
    for told in (new.signs_up(), new.begins(), old.changes(quantity=3)):
        eventually(lambda t=told: stripe.post(t).status == 202)

    assert eventually(stack.has(new.id, mrr=49))
    assert eventually(stack.has(old.id, mrr=147))
    seen = stack.settled()
    assert (3, 3) == (seen.accepted, seen.settled)
    assert [old.id, new.id] == stack.creations()
    assert seen.emptied
    assert "Redis came back empty at" in web.get("/metrics")[1] + web.get("/readyz")[1]
    assert web.running.is_alive
    assert worker.is_alive
