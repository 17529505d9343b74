"""CPU of one event of a month: the bridge, an empty view and the textbook in turn.

Samples are short and their order turns, so that what else the machine does falls on all
alike; a ratio is taken within a round.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench import machine
from tests.bench.events import PATH, Event, in_turn, months, requests
from tests.bench.load import deliver
from tests.bench.report import Figure, figure, say
from tests.support.processes import Running, free_port
from tests.support.server import RedisServer
from tests.support.stack import Stack
from tests.support.waiting import eventually

ROUNDS = 20
CUSTOMERS = 10
"""Of a sample; their months are about 380 events."""

KINDS = ("bridge", "empty", "textbook", "once")

GUNICORN = ("gunicorn", "tests.bench.peers:textbook()", "--workers", "2", "--bind")


class Server(NamedTuple):
    """What is measured: where it listens, at which path, and whose time counts."""

    port: int
    path: str
    pids: Sequence[int]


def measure(folder: Path) -> dict[str, Figure]:
    """Return milliseconds of CPU per event of each kind, and ratios."""
    times: dict[str, list[float]] = defaultdict(list)
    with _servers(folder) as servers:
        for number in range(ROUNDS):
            say(f"ingress: round {number + 1} of {ROUNDS}")
            month = _months()
            changes = [e for e in month if "subscription" in e["type"]]
            turn = number % len(KINDS)
            for name, events in (("", month), (" of a change", changes)):
                for kind in (*KINDS[turn:], *KINDS[:turn]):
                    times[kind + name].append(_sample(servers[kind], events))
    found = {f"ms {kind}": figure(each) for kind, each in times.items()}
    for name in ("", " of a change"):
        for kind in KINDS[1:]:
            pairs = zip(times["bridge" + name], times[kind + name], strict=True)
            ratios = [a / b if kind == "empty" else b / a for a, b in pairs]
            found[kind + name] = figure(ratios)
    return found


def _months() -> list[Event]:
    """All events of some new customers; most are ignored."""
    return [event for moments in months(CUSTOMERS) for event in in_turn(moments)]


def _sample(server: Server, events: Sequence[Event]) -> float:
    """Milliseconds of CPU for each event."""
    old, new = f"POST {PATH} ".encode(), f"POST {server.path} ".encode()
    sent = [request.replace(old, new, 1) for request in requests(events)]
    before = machine.clock(*server.pids)
    deliver(server.port, sent)
    return machine.spent(before, machine.clock(*server.pids)) / len(sent) * 1000


@contextmanager
def _servers(folder: Path) -> Iterator[dict[str, Server]]:
    """All of them at once and warm; the bridge and the textbook have a Redis each."""
    with ExitStack() as ending:
        stack = ending.enter_context(Stack(folder))
        other = ending.enter_context(RedisServer())
        for redis in (stack.redis_server, other):
            redis.config(auto_aof_rewrite_percentage=0)

        def peer(*command: str, port: int) -> int:
            running = Running(
                [sys.executable, "-m", *command],
                environ={**stack.environ, "REDIS_URL": other.url, "PORT": port},
                folder=folder,
                name=command[0],
            )
            ending.callback(running.kill)
            return running.pid

        one, two = free_port(), free_port()
        empty = peer("tests.bench.peers", port=one)
        textbook = (peer(*GUNICORN, f"127.0.0.1:{two}", port=two), other.pid)
        web = stack.web()
        bridge = (web.running.pid, stack.redis_server.pid)
        servers = {
            "bridge": Server(web.port, PATH, bridge),
            "empty": Server(one, PATH, (empty,)),
            "textbook": Server(two, PATH, textbook),
            "once": Server(two, "/once", textbook),
        }
        for server in servers.values():
            eventually(lambda s=server: _sample(s, _months()[:1]))
            _sample(server, _months())
        yield servers
