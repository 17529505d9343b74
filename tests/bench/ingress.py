"""CPU of one accepted event: the bridge, an empty view, the textbook, turn by turn."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.bench import events, machine
from tests.bench.load import drive
from tests.bench.report import Spread, say
from tests.support.processes import Running, free_port
from tests.support.server import RedisServer
from tests.support.stack import Stack
from tests.support.waiting import eventually

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
EVENTS = int(os.environ.get("BENCH_EVENTS", "2000"))

PER_CUSTOMER = {"repeat": 10, "new": 1}
"""Events of one customer; each customer's first queues a job."""

KINDS = ("bridge", "empty", "textbook", "once")

NO_REWRITE = ("--auto-aof-rewrite-percentage", "0")

_customers = count(1)


class Server(NamedTuple):
    """What is measured: where it listens, at which path, and whose time counts."""

    port: int
    path: str
    pids: Sequence[int]


def measure(folder: Path) -> dict[str, Spread]:
    """Return the ratios, and milliseconds per event, of both workloads."""
    with ExitStack() as ending:
        servers = ending.enter_context(_servers(folder))
        for kind in KINDS:
            _sample(servers[kind], _requests("repeat", 300))
        times: dict[tuple[str, str], list[float]] = {}
        for number in range(ROUNDS):
            for workload in PER_CUSTOMER:
                say(f"ingress: round {number + 1} of {ROUNDS}, customers {workload}")
                requests = _requests(workload, EVENTS)
                turn = number % len(KINDS)
                for kind in (*KINDS[turn:], *KINDS[:turn]):
                    spent = _sample(servers[kind], requests)
                    times.setdefault((workload, kind), []).append(spent)
    return _figures(times)


def _figures(times: dict[tuple[str, str], list[float]]) -> dict[str, Spread]:
    found: dict[str, Spread] = {}
    for workload in PER_CUSTOMER:
        own = times[workload, "bridge"]
        found |= {
            f"{kind}, {workload}": Spread.of(times[workload, kind]) for kind in KINDS
        }
        for kind in KINDS[1:]:
            pairs = zip(own, times[workload, kind], strict=True)
            ratios = [a / b if kind == "empty" else b / a for a, b in pairs]
            found[f"ratio {kind}, {workload}"] = Spread.of(ratios)
    return found


def _requests(workload: str, number: int) -> list[bytes]:
    """Requests of new customers, one event of each after the other, signed now."""
    each = PER_CUSTOMER[workload]
    names = [f"cus_Q0example{next(_customers):06}" for _ in range(number // each)]
    now = time.time()
    return [
        events.request(events.renewal(name, nth + 1), now)
        for nth in range(each)
        for name in names
    ]


def _sample(server: Server, requests: list[bytes]) -> float:
    """Milliseconds of CPU for each request."""
    old, new = f"POST {events.PATH} ".encode(), f"POST {server.path} ".encode()
    sent = [request.replace(old, new, 1) for request in requests]
    before = machine.clock(*server.pids)
    statuses = drive(server.port, sent)
    spent = machine.spent(before, machine.clock(*server.pids))
    assert {202} == statuses.keys(), statuses
    return spent / len(sent) * 1000


@contextmanager
def _servers(folder: Path) -> Iterator[dict[str, Server]]:
    """All three at once, each with a Redis of its own but the empty one."""
    with ExitStack() as ending:
        stack = ending.enter_context(Stack(folder))
        stack.redis.config_set("auto-aof-rewrite-percentage", 0)
        bridge = stack.web()
        other = ending.enter_context(RedisServer(extra=NO_REWRITE))
        environ = stack.environ | {"REDIS_URL": other.url}

        def peer(name: str, *command: str) -> tuple[int, int]:
            port = free_port()
            running = Running(
                [sys.executable, "-m", *command, *(_bind(port) if name else ())],
                environ=environ | {"PORT": port},
                folder=folder,
                name=name or "empty",
            )
            ending.callback(running.kill)
            return port, running.pid

        empty = peer("", "tests.bench.peers")
        book = peer("textbook", "gunicorn", "tests.bench.peers:textbook()")
        found = {
            "bridge": Server(
                bridge.port, events.PATH, (bridge.running.pid, stack.redis_server.pid)
            ),
            "empty": Server(empty[0], events.PATH, (empty[1],)),
            "textbook": Server(book[0], events.PATH, (book[1], other.pid)),
            "once": Server(book[0], "/once", (book[1], other.pid)),
        }
        for server in found.values():
            eventually(lambda s=server: _takes(s), 20, what=f"a 202 of {server}")
        yield found


def _bind(port: int) -> tuple[str, ...]:
    return ("--bind", f"127.0.0.1:{port}", "--workers", "2", "--log-level", "warning")


def _takes(server: Server) -> bool:
    _sample(server, _requests("new", 1))
    return True
