"""How long after its event a write arrives at Vitally, when idle and behind a backlog."""

from __future__ import annotations

import random
import time
from pathlib import Path
from statistics import quantiles

from bridge.store import keys
from tests.bench.events import Customer, Event, requests
from tests.bench.load import deliver
from tests.bench.report import Figure, figure, say
from tests.support.stack import Stack
from tests.support.waiting import eventually

EVENTS = 100

WAITING = 10_000
"""New accounts: each takes two writes (PUT, 404, POST)."""

LIMIT = 15_000
"""Units a minute, fifteen times Vitally's own: the same run, with more to count."""

SHARE = 0.8
WORKERS = 2

WINDOW = 60.0
"""Seconds that count, the last of the run: the limit is one of any 60 s."""

SECONDS = 80.0

PATIENCE = 600.0
"""Seconds after which a write is not waited for any more."""

ENDINGS = 25


def when_idle(folder: Path) -> dict[str, Figure]:
    """Return milliseconds from a delivery to the PUT's first line."""
    # All change within seconds, which else would be held as a mass change.
    with Stack(folder, BRIDGE_MASS_ACCOUNTS=10 * EVENTS) as stack:
        stack.web()
        stack.worker()
        stack.ready()
        say(f"idle: {EVENTS} accounts, then one event of each")
        customers = _known(stack, EVENTS)
        took = []
        for customer in customers:
            time.sleep(random.uniform(0.02, 0.12))
            took.append(_wait(stack, customer, customer.seats(7)))
    return _half_and_95("idle", took)


def behind_a_backlog(folder: Path) -> dict[str, Figure]:
    """Let accounts wait for the budget: milliseconds of endings, and the budget's use."""
    with Stack(folder, WORKER_PROCESSES=WORKERS, VITALLY_BUDGET_SHARE=SHARE) as stack:
        stack.vitally.turn(rate_limit=LIMIT)
        web = stack.web()
        first = stack.worker()
        stack.ready()
        leaving = _known(stack, ENDINGS)
        first.terminate()
        say(f"backlog: {WAITING} accounts wait, workers start")
        deliver(web.port, requests(Customer().begins() for _ in range(WAITING)))
        stack.worker()
        before = len(stack.vitally.log())
        eventually(lambda: stack.vitally.log(since=before))
        end = time.monotonic() + SECONDS
        took = []
        for customer in leaving:
            took.append(_wait(stack, customer, customer.ends()))
            time.sleep(max(0.0, (end - time.monotonic()) / (ENDINGS + 1 - len(took))))
        time.sleep(max(0.0, end - time.monotonic()))
        writes = stack.vitally.writes()
        assert stack.figures().dirty, "the backlog was too small"
    since = (end - WINDOW) * 1000
    used = sum(w["cost"] for w in writes if since < w["started"] < end * 1000)
    allowed = LIMIT * SHARE * WINDOW / 60
    return {
        **_half_and_95("behind", took),
        "drain": figure([100 * used / allowed]),
        "limited": figure([sum(w["status"] == 429 for w in writes)]),
    }


def _known(stack: Stack, number: int) -> list[Customer]:
    """Customers whose accounts were written long ago."""
    customers = [Customer() for _ in range(number)]
    signed_up = [customer.signs_up() for customer in customers]
    begun = [customer.begins() for customer in customers]
    deliver(stack.webs[0].port, requests(signed_up + begun))
    stack.settled()
    for key in stack.redis.scan_iter(match=f"{keys.account('')}*"):
        stack.redis.hdel(key, "wrote_at", "pace")
    return customers


def _wait(stack: Stack, customer: Customer, event: Event) -> float:
    """Deliver *event*; milliseconds until its write begins."""
    before, sent = len(stack.vitally.log()), requests([event])
    begun = time.monotonic()
    deliver(stack.webs[0].port, sent)
    return _written(stack, customer, before) - begun * 1000


def _written(stack: Stack, customer: Customer, since: int) -> float:
    """Wait for the *customer*'s write; its instant in milliseconds."""

    def written() -> float | None:
        log = stack.vitally.log(since)
        return next((e["started"] for e in log if e["account"] == customer.id), None)

    return eventually(written, PATIENCE, what="a write")


def _half_and_95(name: str, took: list[float]) -> dict[str, Figure]:
    parts = quantiles(took, n=20, method="inclusive")
    return {f"{name}, half": figure([parts[9]]), f"{name}, 95": figure([parts[18]])}
