"""What is written, held and worked for each account, and how soon a process is there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bridge.store import keys
from bridge.store.connect import milliseconds
from tests.bench import machine
from tests.bench.events import Customer, Moment, in_turn, months, requests
from tests.bench.load import deliver
from tests.bench.report import Figure, figure, say
from tests.support.one_event import entered
from tests.support.stack import Stack
from tests.support.vitally.custom_objects import EXAMPLE_TOKEN
from tests.support.waiting import eventually

CUSTOMERS = 60
HOUR_MS = 3_600_000

ACCOUNTS = 1500

FIRST = 100
"""Accounts that are there before: the first ones make what Redis has once (scripts, and
half a megabyte of its own figures of each command), and no account more."""

BOOTS = 5

PASSING = (keys.RECENT, keys.JOURNAL, keys.SLOTS)
"""Logs that are capped, or of the last minute: they do not grow with the accounts."""

JOBS = ("rq:job:*", "rq:queue:*")


def writes(folder: Path) -> dict[str, Figure]:
    """Return the writes for 1000 events, and those for all of them once more."""
    with Stack(folder) as stack:
        stack.web()
        stack.worker()
        stack.ready()
        sent: Moment = []
        for moments in months(CUSTOMERS):
            say(f"writes: {len(moments)} customers have a moment")
            events = in_turn(moments)
            _post(stack, [*events, *events[::50]])
            sent += events
            _days_pass(stack)
        received, written = stack.figures().received, len(stack.vitally.writes())
        say(f"writes: all {len(sent)} events again, with and without the ring")
        _post(stack, sent)
        stack.redis.delete(keys.RECENT)
        _days_pass(stack)
        _post(stack, sent)
        repeats = len(stack.vitally.writes()) - written
    return {
        "writes": figure([1000 * written / received]),
        "repeats": figure([repeats]),
    }


def _days_pass(stack: Stack) -> None:
    """Let the last write of every account be long ago, as it is between renewals."""
    redis = stack.redis
    while True:
        for key in redis.scan_iter(match=f"{keys.account('')}*"):
            redis.hincrby(key, "wrote_at", -HOUR_MS)
            if int(redis.hget(key, "objects_due") or 0):
                redis.hincrby(key, "objects_due", -HOUR_MS)
        soon = redis.zrangebyscore(keys.LATER, "-inf", milliseconds(redis) + HOUR_MS)
        for party in soon:
            redis.zincrby(keys.LATER, -HOUR_MS, party)
        if not soon:
            break
        time.sleep(1.0)  # the sweeper claims what is due four times a second
        stack.settled(120)
    for key in redis.scan_iter(match=keys.mass("*")):
        redis.delete(key)


OBJECTS = """
[vitally.objects]
subscription = "subscriptions"
"""
EVERYTHING = f"""
[traits]
use = "all"
{OBJECTS}
"""


def units(folder: Path) -> dict[str, Figure]:
    """Return the REST units of the months: traits alone, with objects, with all traits too."""
    found: dict[str, float] = {}
    for name, lines in (("plain", ""), ("objects", OBJECTS), ("whole", EVERYTHING)):
        place = folder / name
        place.mkdir()
        (place / "bridge.toml").write_text(lines, encoding="utf-8")
        with Stack(
            place, BRIDGE_CONFIG=place / "bridge.toml", BRIDGE_RECONCILE="off"
        ) as stack:
            stack.vitally.custom_objects.objects["subscriptions"] = {
                "id": "subscriptions"
            }
            url = stack.vitally.url
            token = {
                "VITALLY_ANALYTICS_TOKEN": EXAMPLE_TOKEN,
                "VITALLY_ANALYTICS_URL": url,
            }
            stack.environ |= token
            stack.web()
            stack.worker()
            stack.ready()
            for moments in months(CUSTOMERS):
                say(f"units, {name}: {len(moments)} customers have a moment")
                _post(stack, in_turn(moments))
                _days_pass(stack)
            received = stack.figures().received
            spent = sum(entry["cost"] for entry in stack.vitally.log())
            found[name] = 1000 * spent / received
            found["batches"] = 1000 * len(stack.vitally.batches()) / received
            assert bool(lines) == (len(stack.vitally.instances()) == CUSTOMERS)
    found["units"] = found["objects"] / found["plain"]
    found["units all"] = found["whole"] / found["plain"]
    return {name: figure([value]) for name, value in found.items()}


def memory(folder: Path) -> dict[str, Figure]:
    """Return bytes of Redis, MB and CPU; at rest is: all settled."""
    customers = [Customer() for _ in range(ACCOUNTS)]
    with Stack(folder) as stack:
        web, worker = stack.web(), stack.worker()
        stack.ready()
        _begin(stack, [Customer() for _ in range(FIRST)])
        stack.redis.delete(*PASSING)
        before, clock = _used(stack), machine.clock(worker.pid)
        written = len(stack.vitally.writes())
        say(f"memory: {ACCOUNTS} accounts with two subscriptions each")
        _begin(stack, customers)
        spent = machine.spent(clock, machine.clock(worker.pid))
        settled = len(stack.vitally.writes()) - written
        pss = {
            p: machine.memory(r.pid)
            for p, r in (("web", web.running), ("worker", worker))
        }
        stack.redis.delete(*PASSING)
        after = _used(stack)
        worker.terminate()
        rest = _used(stack)
        say("memory: one more event of each waits")
        deliver(web.port, requests(one.seats(9) for one in customers))
        stack.redis.delete(*PASSING)
        waiting = _used(stack)
        for pattern in JOBS:
            for key in stack.redis.scan_iter(match=pattern, count=1000):
                stack.redis.delete(key)
        without = _used(stack)
    return {
        "account": figure([(after - before) / ACCOUNTS]),
        "event": figure([(waiting - rest) / ACCOUNTS]),
        "job": figure([(waiting - without) / ACCOUNTS]),
        "worker CPU": figure([1000 * spent / settled]),
        **{name: figure([mb]) for name, mb in pss.items()},
    }


def trips(_: Path) -> dict[str, Figure]:
    """Return how often an event and its job go to Redis and back."""
    found = entered()
    return {"accept trips": figure([found.queued]), "job trips": figure([found.job])}


def boot(folder: Path) -> dict[str, Figure]:
    """Return milliseconds until a web process answers, and until a worker works."""
    found: dict[str, list[float]] = {"web boot": [], "worker boot": []}
    with Stack(folder) as stack:
        for number in range(BOOTS):
            say(f"boot: {number + 1} of {BOOTS}")
            begun = time.monotonic()
            stack.web()
            found["web boot"].append((time.monotonic() - begun) * 1000)
            begun = time.monotonic()
            stack.worker()
            eventually(lambda n=number: len(stack.figures().workers) > n)
            found["worker boot"].append((time.monotonic() - begun) * 1000)
    return {name: figure(samples) for name, samples in found.items()}


def _begin(stack: Stack, customers: Sequence[Customer]) -> None:
    """Let each of *customers* sign up, and begin two subscriptions."""
    _post(stack, [one.signs_up() for one in customers])
    _post(stack, [one.begins(of) for of in (1, 2) for one in customers])


def _post(stack: Stack, events: Moment) -> None:
    deliver(stack.webs[0].port, requests(events))
    stack.settled(120)


def _used(stack: Stack) -> int:
    """Bytes of the data; what waits for the disk or for a client is none of it."""

    def calm() -> int:
        first, second = (_once(stack), time.sleep(0.2), _once(stack))[::2]
        return second if abs(second - first) < 4096 else 0

    return eventually(calm, what="a Redis at rest")


def _once(stack: Stack) -> int:
    info: dict[str, int] = stack.redis.info("memory")
    return info["used_memory"] - info["mem_not_counted_for_evict"]
