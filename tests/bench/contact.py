"""What first contact with a Vitally costs: one that has every account, and an empty one."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

from bridge.queue import Queue
from bridge.store.accept import Accept
from bridge.store.lease import Claim
from tests.bench.report import Figure, figure, say
from tests.support.command import called
from tests.support.desk import customer, subscription
from tests.support.stack import Stack

CUSTOMERS = 50_000

PATIENCE = 1800
"""Seconds that the workers may take."""


def measure(folder: Path) -> dict[str, Figure]:
    """Return writes for a new account, and requests where all of them are right."""
    environ = {"WORKER_PROCESSES": os.cpu_count() or 1, "BRIDGE_RECONCILE": "off"}
    with Stack(folder, **environ) as stack:
        new = _contact(stack, "new")
        assert len(stack.vitally.by_id) == CUSTOMERS
        stack.redis.flushdb()
        right = _contact(stack, "right")
    writes = new.total() - new["GET"]
    return {
        "contact new": figure([writes / CUSTOMERS]),
        "contact right": figure([right.total()]),
    }


def _contact(stack: Stack, what: str) -> Counter[str]:
    """Read the list as a backfill does, take all customers in; requests by method."""
    since, begun = len(stack.vitally.log()), time.monotonic()
    say(f"contact: reading Vitally, then {CUSTOMERS:,} customers that are {what} there")
    called("reconcile", environ=stack.environ)
    read = time.monotonic()
    accept, queue = Accept(stack.redis), Queue(stack.redis)
    for n in range(CUSTOMERS):
        name = f"cus_{n}"
        told = [customer(name, account=f"acme-{n}"), subscription(name)]
        claim = accept.facts("stripe", told).claim
        queue.push(Claim(told[0].party, claim), "bench")
    taken = time.monotonic()
    worker = stack.worker()
    stack.settled(PATIENCE)
    worker.terminate()
    done = time.monotonic()
    say(
        f"contact: {read - begun:.0f} s to read the list, {taken - read:.0f} s to take "
        f"all in, {done - taken:.0f} s of the workers"
    )
    return Counter(one["method"] for one in stack.vitally.log(since))
