"""Several users of one Vitally key: who gets how much, and who waits: `make shared`.

    python -m tests.bench.shared [minutes [case ...]]

Two bridges, each with a Redis, a web process and a worker, and more new accounts than
they can write; customers of both end now and then. A foreign user sends what its case
says. The simulated Vitally has a bucket for all users of a key, six times as large as the
real one, so that there is more to count.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, NamedTuple

from bridge.errors import VitallyLimitedError
from bridge.store import keys
from bridge.vitally.client import Vitally
from tests.bench.events import Customer, requests
from tests.bench.load import drive
from tests.bench.report import say
from tests.support.stack import Stack
from tests.support.waiting import eventually

LIMIT = 6000
COST = 10
WAITING = 1500
EVERY = 10.0
"""Seconds between two endings at each bridge."""

Foreign = Callable[[float], float]
"""Seconds since the beginning -> writes a second that the foreign user tries."""

FULL = LIMIT / COST / 60
"""Writes a second that all users together may make."""


def steady(_: float) -> float:
    """A fifth, evenly."""
    return FULL / 5


def in_bursts(at: float) -> float:
    """A fifth, all of it within the first two seconds of each minute."""
    return FULL * 6 if at % 60 < 2 else 0


def greedy(at: float) -> float:
    """All there is, and five times as much, for a minute; nothing before or after."""
    return FULL * 5 if 60 <= at < 120 else 0


class Case(NamedTuple):
    """The *shares* of the bridges, which of them have a backlog, and the foreign user."""

    shares: tuple[float, float]
    busy: tuple[bool, bool] = (True, True)
    foreign: Foreign | None = None


CASES: Mapping[str, Case] = {
    "equal": Case((0.4, 0.4), foreign=steady),
    "unequal": Case((0.6, 0.2), foreign=in_bursts),
    "greedy": Case((0.4, 0.4), foreign=greedy),
    "above one": Case((0.8, 0.8)),
    "one idle": Case((0.4, 0.4), busy=(True, False), foreign=in_bursts),
}


class Bridge:
    """One of the bridges, and what it did."""

    def __init__(
        self, stack: Stack, vitally: Stack, *, busy: bool, endings: int
    ) -> None:
        self.stack, self.vitally, self.busy = stack, vitally.vitally, busy
        self.web = stack.web()
        stack.worker()
        stack.ready()
        self.leaving = [Customer() for _ in range(endings)]
        for make in (Customer.signs_up, Customer.begins):
            drive(self.web.port, requests(map(make, self.leaving)))
            stack.settled(600)
        for customer in self.leaving:
            stack.redis.hdel(keys.account(customer.id), "wrote_at", "pace")
        self.waited: list[float] = []
        self.accounts = {customer.id for customer in self.leaving}

    def begin(self) -> None:
        """Let a backlog come."""
        self.stack.redis.delete(keys.SLOTS, keys.RATE, keys.PAUSE)
        waiting = [Customer() for _ in range(WAITING * self.busy)]
        self.accounts |= {customer.id for customer in waiting}
        drive(self.web.port, requests(one.begins() for one in waiting))

    def let_end(self, over: Event) -> None:
        """Let customers end; seconds until each write."""
        while self.leaving and not over.wait(EVERY):
            customer, before = self.leaving.pop(), len(self.vitally.log())
            begun = time.monotonic()
            while not drive(self.web.port, requests([customer.ends()]))[202]:
                time.sleep(0.1)

            def written(one: Customer = customer, before: int = before) -> float | None:
                log = self.vitally.log(before)
                mine = (e for e in log if e["account"] == one.id)
                return next((e["started"] for e in mine if e["status"] != 429), None)

            at = eventually(written, 300, what="an ending")
            self.waited.append(at / 1000 - begun)


def abuse(stack: Stack, foreign: Foreign, over: Event) -> None:
    """Be the foreign user, who does not mind a 429."""
    vitally = stack.vitally
    client, begun = Vitally(vitally.url, vitally.authorization), time.monotonic()
    client.create({"externalId": "foreign", "name": "Foreign"})
    sent = 0.0
    while not over.wait(0.02):
        sent += 0.02 * foreign(time.monotonic() - begun)
        while sent >= 1:
            sent -= 1
            with suppress(VitallyLimitedError):
                client.update("foreign", {"traits": {"n": int(time.monotonic())}})


def measure(folder: Path, name: str, minutes: float) -> str:
    """Return a row of Markdown about a case."""
    case, over = CASES[name], Event()
    say(f"shared: {name}")
    with ExitStack() as ending:
        stacks: list[Stack] = []
        for number, share in enumerate(case.shares):
            place = folder / f"{name}-{number}"
            place.mkdir()
            url = {"VITALLY_BASE_URL": stacks[0].vitally.url} if stacks else {}
            more = {"VITALLY_BUDGET_SHARE": share, "BRIDGE_RECONCILE": "off"} | url
            stacks.append(ending.enter_context(Stack(place, **more)))
        endings = int(minutes * 60 / EVERY) + 1
        bridges = [
            Bridge(stack, stacks[0], busy=busy, endings=endings)
            for stack, busy in zip(stacks, case.busy, strict=True)
        ]
        vitally = stacks[0].vitally
        vitally.turn(rate_limit=LIMIT)
        before = len(vitally.log())
        for bridge in bridges:
            bridge.begin()
        threads = [Thread(target=bridge.let_end, args=(over,)) for bridge in bridges]
        if case.foreign:
            threads.append(Thread(target=abuse, args=(stacks[0], case.foreign, over)))
        for thread in threads:
            thread.start()
        time.sleep(60 * minutes)
        log = vitally.log(before)
        over.set()
        for thread in threads:
            thread.join()
        cells = [cell for one in bridges for cell in figures(one, log, minutes)]
        foreign = [e for e in log if of(e) == "foreign"]
        done = sum(e["status"] != 429 for e in foreign) / minutes
        lamps = [str(one.stack.figures().scarce_at is not None) for one in bridges]
    return " | ".join([name, *cells, f"{done:.0f}", *lamps])


def of(entry: Mapping[str, Any]) -> str | None:
    """The account of a request."""
    body = entry["body"]
    return entry["account"] or (body or {}).get("externalId")


def figures(bridge: Bridge, log: list[dict[str, Any]], minutes: float) -> Iterator[str]:
    """Writes a minute, 429, and the longest wait of an ending."""
    own = [e for e in log if of(e) in bridge.accounts]
    yield f"{sum(e['status'] != 429 for e in own) / minutes:.0f}"
    yield str(sum(e["status"] == 429 for e in own))
    yield f"{max(bridge.waited):.1f} s"


def main(minutes: str = "3", *names: str) -> None:
    """Measure the cases, one after another."""
    with TemporaryDirectory(prefix="bridge-shared-") as folder:
        for name in names or CASES:
            row = measure(Path(folder), name, float(minutes))
            sys.stdout.write(f"| {row} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
