"""CPU of one accepted event: the bridge, an empty view and the textbook in turn.

Samples are short and their order turns, so that what else the machine does falls on all
alike; a ratio is taken within a round.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.bench import events, machine
from tests.bench.figure import Figure, figure, say
from tests.bench.load import deliver
from tests.support.processes import Running, free_port
from tests.support.server import RedisServer
from tests.support.stack import Stack
from tests.support.waiting import eventually

ROUNDS = 20
EVENTS = 300
"""Events of a sample."""

PER_CUSTOMER = {"repeat": 10, "new": 1}
"""Events of each customer; the first of them queues a job."""

KINDS = ("bridge", "empty", "textbook", "once")

GUNICORN = ("gunicorn", "tests.bench.peers:textbook()", "--workers", "2", "--bind")

_customers = count(1)


class Server(NamedTuple):
    """What is measured: where it listens, at which path, and whose time counts."""

    port: int
    path: str
    pids: Sequence[int]


Times = dict[tuple[str, str], list[float]]
"""(workload, kind) -> milliseconds of CPU per event, round by round."""


def measure(folder: Path) -> dict[str, Figure]:
    """Return ratios and milliseconds per event, of both workloads."""
    times: Times = {}
    with _servers(folder) as servers:
        for number in range(ROUNDS):
            say(f"ingress: round {number + 1} of {ROUNDS}")
            turn = number % len(KINDS)
            for workload in PER_CUSTOMER:
                sent = requests(workload, EVENTS)
                for kind in (*KINDS[turn:], *KINDS[:turn]):
                    spent = _sample(servers[kind], sent)
                    times.setdefault((workload, kind), []).append(spent)
    return _figures(times)


def requests(workload: str, number: int) -> list[bytes]:
    """Requests of new customers, one event of each after the other, signed now."""
    each = PER_CUSTOMER[workload]
    names = [events.customer_id(next(_customers)) for _ in range(number // each)]
    now = time.time()
    return [
        events.request(events.renewal(name, nth + 1), now)
        for nth in range(each)
        for name in names
    ]


def _figures(times: Times) -> dict[str, Figure]:
    found = {f"ms {kind}, {w}": figure(each) for (w, kind), each in times.items()}
    for workload in PER_CUSTOMER:
        own = times[workload, "bridge"]
        for kind in KINDS[1:]:
            pairs = zip(own, times[workload, kind], strict=True)
            ratios = [a / b if kind == "empty" else b / a for a, b in pairs]
            found[f"{kind}, {workload}"] = figure(ratios)
    return found


def _sample(server: Server, sent: Sequence[bytes]) -> float:
    """Milliseconds of CPU for each request."""
    old, new = f"POST {events.PATH} ".encode(), f"POST {server.path} ".encode()
    here = [request.replace(old, new, 1) for request in sent]
    before = machine.clock(*server.pids)
    deliver(server.port, here)
    return machine.spent(before, machine.clock(*server.pids)) / len(here) * 1000


@contextmanager
def _servers(folder: Path) -> Iterator[dict[str, Server]]:
    """All of them at once and warm; the bridge and the textbook have a Redis each."""
    with ExitStack() as ending:
        stack = ending.enter_context(Stack(folder))
        other = ending.enter_context(RedisServer())
        stack.redis.config_set("auto-aof-rewrite-percentage", 0)
        other.config(auto_aof_rewrite_percentage=0)

        def peer(*command: str, port: int) -> int:
            environ = {**stack.environ, "REDIS_URL": other.url, "PORT": port}
            running = Running(
                [sys.executable, "-m", *command],
                environ=environ,
                folder=folder,
                name=command[0],
            )
            ending.callback(running.kill)
            return running.pid

        one, two = free_port(), free_port()
        empty = peer("tests.bench.peers", port=one)
        textbook = (peer(*GUNICORN, f"127.0.0.1:{two}", port=two), other.pid)
        web = stack.web()
        found = {
            "bridge": Server(
                web.port, events.PATH, (web.running.pid, stack.redis_server.pid)
            ),
            "empty": Server(one, events.PATH, (empty,)),
            "textbook": Server(two, events.PATH, textbook),
            "once": Server(two, "/once", textbook),
        }
        for server in found.values():
            eventually(lambda s=server: _sample(s, requests("new", 1)), 20)
            _sample(server, requests("repeat", EVENTS))
        yield found
