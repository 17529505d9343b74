"""A disk that fills up under Redis' append-only file: refused, seen, and made good."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from redis import Redis

from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.chaos


def full(redis: Redis, folder: Path) -> Path:
    """Let the append-only file go on in a place that has no room; the link to it.

    Redis writes its file anew as number n + 1, and finds that name taken.
    """
    (now,) = folder.glob("appendonlydir/appendonly.aof.*.incr.aof")
    number = int(now.name.split(".")[2])
    link = now.with_name(f"appendonly.aof.{number + 1}.incr.aof")
    link.symlink_to("/dev/full")
    redis.bgrewriteaof()
    eventually(lambda: not now.exists())
    return link


def room(redis: Redis, link: Path) -> None:
    """Let it go on where there is room."""
    link.unlink()
    redis.bgrewriteaof()


def test_a_full_disk_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        web = stack.web()
        stack.worker()
        stripe, known, new = stack.ready().stripe(), Shop(), Shop()
        stripe.post(known.signs_up())
        stack.settled()
        slow = {"kind": "delay", "seconds": 1.5, "match": {"method": "PUT"}}
        stack.vitally.break_with([slow])
        assert 202 == stripe.post(known.begins()).status
        eventually(lambda: stack.vitally.writes()[-1]["ended"] is None)

        link = full(stack.redis, stack.redis_server.folder)
        # Redis notices with its next write, and keeps that one in its memory.
        _, said = eventually(lambda: (r := web.get("/readyz"))[0] == 503 and r)
        assert "append-only file" in said
        told, begun = new.signs_up(), time.monotonic()
        assert 503 == stripe.post(told).status
        assert time.monotonic() - begun < 2
        assert 200 == web.get("/healthz")[0]
        assert eventually(stack.has(known.id, mrr=49)), "sent before, and done"

        room(stack.redis, link)
        taken = eventually(lambda: (a := stripe.post(told)).status == 202 and a)
        assert "duplicate" != taken.receipt
        seen = stack.settled(20)
        assert (3, 3) == (seen.accepted, seen.settled)
        assert stack.has(known.id, mrr=49)()
        assert [known.id, new.id] == stack.creations()
        assert [] == stack.overlaps()
