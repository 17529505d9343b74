"""What the bridge costs at a million accounts at rest: memory, probes, pages, commands.

500 customers take the whole way: events over HTTP, jobs, writes. All others
have the rows of one of these under ids of their own, in every key and index.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import urllib3

from bridge.config import Config
from bridge.reconcile import Reconciler
from bridge.store import keys
from bridge.store.connect import batches
from bridge.store.dump import READ, WRITE
from bridge.store.shadow import Shadow
from tests.bench import machine, waits
from tests.bench.events import Customer, requests
from tests.bench.load import deliver
from tests.bench.report import Figure, figure, say
from tests.support.desk import settings
from tests.support.processes import ROOT, end_all
from tests.support.server import RedisServer
from tests.support.stack import Stack
from workers.context import Context
from workers.sweep import Sweeper

ACCOUNTS, PATTERNS = 1_000_000, 500

FEW = 50_000
"""Accounts that are exported and imported; both take the longer the more there are."""

EVENTS, LOOKS, PAGES = 50, 5, 5
AT_ONCE = 200
"""Accounts that are sent to Redis in one step."""

PASSWORD = "console-example"
OWN = re.compile(r"Q(\d{13})")
"""What makes a customer's ids its own; a new number is as long."""

FIRST = 10**12
COUNTED = ("received", "accepted", "settled")

CAPPED = (keys.RECENT, keys.SLOTS)
"""Lists that do not grow with the accounts."""

ADDRESSES = {
    "metrics": "/metrics",
    "readyz": "/readyz",
    "overview": "/console/",
    "accounts": "/console/accounts",
    "found": "/console/accounts?q={}",
    "account": "/console/accounts/{}",
}
QUESTIONS = {
    "status": ("status",),
    "why": ("why", "{}"),
    "find": ("accounts", "find", "{}"),
    "plan one": ("plan", "{}"),
    "plan": ("plan", "--json"),
    "doctor": ("doctor",),
}


def measure(
    folder: Path, accounts: int = ACCOUNTS, patterns: int = PATTERNS, few: int = FEW
) -> dict[str, Figure]:
    """Return bytes, seconds and MB with so many *accounts*, and of a file of *few*."""
    found: dict[str, float] = {}
    with _filled(folder, "many", accounts, patterns) as (stack, customers):
        memory: dict[str, int] = stack.redis.info("memory")
        found["bytes"] = memory["used_memory"] / accounts
        found["redis"] = memory["used_memory"] / 2**20
        found["rss"] = memory["used_memory_rss"] / 2**20
        found |= dict(_processes(stack, customers))
        found |= dict(_commands(stack, QUESTIONS, customers[-1].id))
    with (
        _filled(folder, "few", few, min(few, patterns)) as (stack, _),
        RedisServer(folder / "other") as other,
    ):
        file = str(folder / "state.gz")
        found |= dict(_commands(stack, {"export": ("export", file)}))
        found["file"] = 1000 * Path(file).stat().st_size / few
        stack.environ["REDIS_URL"] = other.url
        found |= dict(_commands(stack, {"import": ("import", file)}))
    return {f"million {name}": figure([value]) for name, value in found.items()}


@contextmanager
def _filled(
    folder: Path, name: str, accounts: int, patterns: int
) -> Iterator[tuple[Stack, list[Customer]]]:
    """A stack with so many accounts at rest, and no process yet."""
    console = {"CONSOLE_USERNAME": "ada", "CONSOLE_PASSWORD": PASSWORD}
    more = {"BRIDGE_RECONCILE": "off", "BRIDGE_MASS_ACCOUNTS": 100_000}
    (place := folder / name).mkdir()
    with Stack(place, **console, **more) as stack:
        customers = _real(stack, patterns)
        begun = time.monotonic()
        multiply(stack.redis, accounts)
        assert accounts == stack.redis.hlen(keys.INDEX)
        say(f"million: {accounts:,} accounts in {time.monotonic() - begun:.0f} s")
        yield stack, customers


def _real(stack: Stack, patterns: int) -> list[Customer]:
    """Customers in Vitally, two subscriptions each, of whom some have left."""
    web, worker = stack.web(), stack.worker()
    stack.ready()
    customers = [Customer() for _ in range(patterns)]
    say(f"million: {patterns} customers take the whole way")
    for step in (
        [one.signs_up() for one in customers],
        [one.begins(of) for of in (1, 2) for one in customers],
        [one.seats(n % 9 + 1) for n, one in enumerate(customers)],
        [one.changes(2, status="past_due") for one in customers[1::25]],
        [one.ends() for one in customers[::20]],
    ):
        deliver(web.port, requests(step))
        stack.settled(600)
    end_all([worker, web.running])
    stack.webs.clear()
    stack.workers.clear()
    return customers


def multiply(redis: Any, accounts: int) -> None:
    """Give new customers, up to so many *accounts*, the rows of those that there are.

    The commands are packed once and sent with other numbers in them, unanswered.
    """
    rows = _rows(redis)
    counted = {part: int(redis.hget(keys.COUNTERS, part)) for part in COUNTED}
    pool = redis.connection_pool
    connection = pool.get_connection()
    packed = [
        (
            number.encode(),
            b"".join(p for one in commands for p in connection.pack_command(*one)),
        )
        for number, commands in rows.items()
    ]
    connection.send_command("CLIENT", "REPLY", "OFF")
    new = range(FIRST, FIRST + accounts - len(rows))
    for some in batches(new, AT_ONCE):
        pairs = ((packed[n % len(packed)], str(n).encode()) for n in some)
        connection.send_packed_command(
            [all_.replace(old, n) for (old, all_), n in pairs]
        )
    connection.send_command("CLIENT", "REPLY", "ON")
    assert connection.read_response() == b"OK"
    pool.release(connection)
    for part, number in counted.items():
        redis.hset(keys.COUNTERS, part, number * accounts // len(rows))


def _rows(redis: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Number of a customer -> the commands that write all that is kept of it."""
    found: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    recorder = _Recorder()
    for raw in redis.scan_iter(match=f"{keys.PREFIX}*", count=1000):
        key, kind = raw.decode(), redis.type(raw).decode()
        own = OWN.search(key)
        if own:
            WRITE[kind](recorder, key, READ[kind](redis, key))
            found[own[1]].append(recorder.last)
        elif kind in {"hash", "set", "zset"} and key not in CAPPED:
            for part in _parts(kind, READ[kind](redis, key)):
                if own := OWN.search(str(part)):
                    WRITE[kind](recorder, key, part)
                    found[own[1]].append(recorder.last)
    return found


def _parts(kind: str, value: Any) -> Iterator[Any]:
    """The rows of an index, each as a value of its own."""
    if kind == "hash":
        yield from ({field: row} for field, row in value.items())
    else:
        yield from ([one] for one in value)


class _Recorder:
    """Stands in for a pipeline, and keeps the last command."""

    last: tuple[Any, ...] = ()

    def hset(self, key: str, mapping: dict[bytes, bytes]) -> None:
        self.last = ("HSET", key, *(one for pair in mapping.items() for one in pair))

    def sadd(self, key: str, *members: bytes) -> None:
        self.last = ("SADD", key, *members)

    def zadd(self, key: str, scores: dict[bytes, float]) -> None:
        self.last = ("ZADD", key, *(x for one, at in scores.items() for x in (at, one)))

    def rpush(self, key: str, *rows: bytes) -> None:
        self.last = ("RPUSH", key, *rows)

    def set(self, key: str, value: bytes) -> None:
        self.last = ("SET", key, value)


def _processes(stack: Stack, customers: list[Customer]) -> Iterator[tuple[str, float]]:
    """What web and worker need, from their start on."""
    web, worker = stack.web(), stack.worker()
    yield "start", _timed(stack.ready)
    say("million: events")
    staying = [one for n, one in enumerate(customers) if n % 20][:EVENTS]
    took = [waits._wait(stack, one, one.seats(99)) for one in staying]
    yield "write", sorted(took)[len(took) * 19 // 20] / 1000
    chosen = settings(stack.vitally.url, stack.redis_url)
    context = Context(chosen, Config(), stack.redis, Event())
    yield "sweep", max(_timed(Sweeper(context, "bench").sweep) for _ in range(LOOKS))
    client, shadow = context.client(observe=context.throttle.learn), Shadow(stack.redis)
    reading = Reconciler(stack.redis, client, Config(), lambda: None).read()
    pages = min(PAGES, len(customers) // 100 - 1)
    yield "reading", max(_timed(lambda: next(reading)) for _ in range(pages))
    yield "unseen", _timed(lambda: shadow.unseen(0))
    stack.redis.delete(keys.LISTING, keys.READER)
    yield "worker", machine.memory(worker.pid)
    headers = urllib3.make_headers(basic_auth=f"ada:{PASSWORD}")
    with urllib3.HTTPConnectionPool("127.0.0.1", web.port, timeout=300) as pool:

        def look(path: str) -> None:
            assert pool.request("GET", path, headers=headers).status == 200, path

        for name, address in ADDRESSES.items():
            path = address.format(customers[-1].id)
            say(f"million: {path}")
            yield name, median(_timed(lambda p=path: look(p)) for _ in range(LOOKS))
    yield "web", machine.memory(web.running.pid)


def _commands(
    stack: Stack, commands: Mapping[str, Sequence[str]], account: str = ""
) -> Iterator[tuple[str, float]]:
    """Seconds that each of the commands takes, and the MB of all its processes."""
    environ = os.environ | {name: str(one) for name, one in stack.environ.items()}
    for name, words in commands.items():
        say(f"million: {name}")
        begun, most = time.monotonic(), 0.0
        with subprocess.Popen(
            [sys.executable, "-m", "bridge", *(one.format(account) for one in words)],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None:
                with suppress(OSError, IndexError):  # one of them has just ended
                    most = max(most, machine.memory(process.pid))
                time.sleep(0.1)
        # `doctor` ends with 1 where it has found something, as in a bench.
        assert process.returncode in ({0, 1} if name == "doctor" else {0}), name
        yield name, time.monotonic() - begun
        yield f"{name} mb", most


def _timed(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun
