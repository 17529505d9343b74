"""What is held: bytes of Redis by account and by waiting job, MB of the processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bridge.store import keys
from tests.bench import events, machine
from tests.bench.figure import Figure, figure, say
from tests.bench.load import deliver
from tests.support.stack import Stack
from tests.support.waiting import eventually

ACCOUNTS = 1500

PASSING = (keys.RECENT, keys.JOURNAL, keys.SLOTS)
"""Logs that are capped, or of the last minute: they do not grow with the accounts."""

JOBS = ("rq:job:*", "rq:queue:*")


def measure(folder: Path) -> dict[str, Figure]:
    """Return bytes and MB; at rest is: everything settled, no worker running."""
    names = [events.customer_id(number) for number in range(ACCOUNTS)]
    with Stack(folder) as stack:
        web = stack.web()
        worker = stack.worker()
        stack.ready()
        empty = _used(stack)
        say(f"memory: {ACCOUNTS} accounts with two subscriptions each")
        _post(web.port, [events.sign_up(name) for name in names])
        _post(web.port, [events.beginning(n, of) for of in (1, 2) for n in names])
        stack.settled(120)
        held = {
            "web": machine.memory(web.running.pid),
            "worker": machine.memory(worker.pid),
        }
        worker.terminate()
        stack.redis.delete(*PASSING)
        rest = _used(stack)
        say("memory: one more event of each waits")
        _post(web.port, [events.renewal(name, 1) for name in names])
        stack.redis.delete(*PASSING)
        waiting = _used(stack)
        for pattern in JOBS:
            for key in stack.redis.scan_iter(match=pattern, count=1000):
                stack.redis.delete(key)
        without = _used(stack)
    return {
        "account": figure([(rest - empty) / ACCOUNTS]),
        "event": figure([(waiting - rest) / ACCOUNTS]),
        "job": figure([(waiting - without) / ACCOUNTS]),
        **{name: figure([pss]) for name, (pss, _) in held.items()},
        **{f"RSS of {name}": figure([rss]) for name, (_, rss) in held.items()},
    }


def _post(port: int, told: list[dict[str, Any]]) -> None:
    now = time.time()
    deliver(port, [events.request(one, now) for one in told])


def _used(stack: Stack) -> int:
    """Bytes of the data; what waits for the disk or for a client is none of it."""

    def calm() -> int:
        first, second = (_once(stack), time.sleep(0.2), _once(stack))[::2]
        return second if abs(second - first) < 4096 else 0

    return eventually(calm, 15, what="a Redis at rest")


def _once(stack: Stack) -> int:
    info: dict[str, int] = stack.redis.info("memory")
    return info["used_memory"] - info["mem_not_counted_for_evict"]
