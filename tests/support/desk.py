"""A worker's desk on a real Redis and a simulated Vitally, without the process.

`Bench.tell` takes facts in as the ingress does, `Bench.work` does the waiting jobs one
after another, `Bench.passes` moves every stored instant back, which is what time that
passes looks like to the state. After each step the counting is checked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from time import monotonic
from typing import Any

from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from bridge.config import Config
from bridge.desired import rules
from bridge.domain.facts import Fact, Stamp
from bridge.settings import Settings
from bridge.sources import discover
from bridge.store import keys
from bridge.store.accept import Accepted
from bridge.store.connect import each, milliseconds
from bridge.store.inspect import Figures, Standing, StateReader, figures
from bridge.store.lease import Claim
from bridge.vitally.client import Vitally
from tests.support.vitally import Simulator
from workers.context import Context
from workers.jobs import Jobs
from workers.sweep import Sweeper

QUEUE = "rq:queue:bridge"
BETWEEN = f"{QUEUE}:intermediate"
NOON = 1_767_225_600_000
"""2026-01-01T00:00:00Z in milliseconds: the source's clock in these tests."""

MOST_JOBS = 50
"""Jobs that one `work` does before it says that they never end."""

RANKS = {"created": 0, "updated": 2, "deleted": 4}

_numbers = count(1)


def customer(
    name: str = "cus_1",
    *,
    at: int = 0,
    account: str | None = "acme",
    called: str | None = "Acme",
    kind: str = "created",
    event: str | None = None,
    **more: Any,
) -> Fact:
    """A snapshot of customer *name*, *at* seconds after noon."""
    value = {"name": called, "account": account, **more}
    stamp = (kind == "deleted", at, RANKS[kind])
    return _fact(name, "customer", stamp, f"customer.{kind}", value, event)


def subscription(
    name: str = "cus_1",
    sub: str = "sub_1",
    *,
    at: int = 0,
    status: str = "active",
    unit: int | str = 45000,
    kind: str = "updated",
    event: str | None = None,
    **more: Any,
) -> Fact:
    """A snapshot of one monthly subscription; *unit* in cents."""
    final = status in {"canceled", "incomplete_expired"}
    item = {"price": "price_1", "name": "Pro", "unit": str(unit), "interval": "month"}
    value = {
        "status": status,
        "currency": "usd",
        "items": [item | {"ends": NOON + 30 * 86_400_000}],
        "ended_at": NOON + at * 1000 if final else None,
        **more,
    }
    stamp, type_ = (final, at, RANKS[kind]), f"customer.subscription.{kind}"
    return _fact(name, f"subscription:{sub}", stamp, type_, value, event)


def link(name: str, account: str | None, *, at: int = 0) -> Fact:
    """An operator's link of customer *name*; an *account* of None takes it away."""
    return _fact(name, "link", (False, at, 0), "link", {"account": account}, None)


def _fact(
    name: str,
    thing: str,
    stamp: tuple[bool, int, int],
    kind: str,
    value: dict[str, Any],
    event: str | None,
) -> Fact:
    final, at, rank = stamp
    number = next(_numbers)
    known = {key: one for key, one in value.items() if one is not None}
    moment, id_ = Stamp(final, NOON + at * 1000, rank), event or f"evt_{number}"
    return Fact(f"stripe:{name}", thing, moment, id_, kind, known, f"state_{number}")


def settings(url: str, redis_url: str, **values: str) -> Settings:
    """The settings of a worker that writes to *url*."""
    options = [option for s in discover().values() for option in s.options]
    environ = {
        "REDIS_URL": redis_url,
        "VITALLY_API_KEY": "sk_test_example",
        "VITALLY_BASE_URL": url,
        "STRIPE_WEBHOOK_SECRET": "whsec_example",
    }
    return Settings.from_env(environ | values, options)


class Bench:
    """Everything that a test of the worker needs, and steps that check the counting."""

    def __init__(self, redis: Redis, vitally: Simulator, deadline: float) -> None:
        self.redis: Any = redis
        self.vitally = vitally
        self.stop = threading.Event()
        chosen = settings(vitally.url, "redis://127.0.0.1:1/0")
        self.context = Context(chosen, Config(), redis, self.stop)
        self.context.chance = lambda: 1.0
        self.client = Vitally(
            vitally.url,
            vitally.authorization,
            deadline=deadline,
            after=self.context.called,
        )
        self.context.vitally = self.client
        self.queue, self.accept = self.context.queue, self.context.accept
        self.leases, self.breaker = self.context.leases, self.context.breaker
        self.throttle, self.look = self.context.throttle, StateReader(redis)
        self.jobs = Jobs(self.context)
        self.sweeper = self.another_sweeper("one")

    def another_sweeper(self, worker: str) -> Sweeper:
        """The sweeper of a worker of this name."""
        return Sweeper(self.context, worker)

    def set(self, **changes: Any) -> None:
        """Change the worker's settings (`bridge_create="never"`) or its `config`."""
        self.context.config = changes.pop("config", self.context.config)
        self.context.rules = rules(self.context.config)
        self.context.settings = replace(self.context.settings, **changes)

    def tell(self, *facts: Fact) -> Accepted:
        """Take facts in, each as one event, and queue the job as the ingress does."""
        for fact in facts:
            accepted = self.take(fact)
            if accepted.claim:
                cause, front = f"{fact.kind} {fact.event}", fact.stamp.final
                claim = Claim(fact.party, accepted.claim, "", front)
                self.queue.push(claim, cause)
        return accepted

    def take(self, fact: Fact) -> Accepted:
        """Take a fact in and die before its job is queued."""
        accepted = self.accept.facts("stripe", [fact], urgent=fact.stamp.final)
        self.check()
        return accepted

    def work(self) -> list[str]:
        """Do all jobs that wait; return their outcomes."""
        words: list[str] = []
        while (job := self.pop()) is not None:
            words.append(self.jobs.run(job.args[0]))
            job.delete()
            self.check()
            assert len(words) < MOST_JOBS, f"jobs without end: {words}"
        return words

    def does(self, *facts: Fact) -> list[str]:
        """Take facts in and do all jobs; return their outcomes."""
        for fact in facts:
            self.tell(fact)
        return self.work()

    def rests(self, *facts: Fact) -> list[str]:
        """The same; then a minute passes, in which nothing happens."""
        words = self.does(*facts)
        self.passes(60_000)
        return words

    def settles(self, *facts: Fact) -> None:
        """Take facts in and work until nothing is left to do, however long it takes."""
        self.does(*facts)
        for _ in range(10):
            self.passes(6000)
            if not self.work() and not self.dirty():
                return
        raise AssertionError(f"still not in Vitally: {self.dirty()}")

    def popped(self) -> str:
        """Take the first job out of the queue; its party."""
        job = self.pop()
        assert job is not None, "no job waits"
        return str(job.args[0])

    def next(self) -> str:
        """Do the first job that waits, and no other; return its outcome."""
        return self.jobs.run(self.popped())

    def pop(self) -> Job | None:
        """Take the first job out of the queue, as a worker that then dies would."""
        raw = self.redis.lpop(QUEUE)
        if raw is None:
            return None
        return Job.fetch(raw.decode(), self.redis, serializer=JSONSerializer)

    def passes(self, ms: int) -> None:
        """Let *ms* milliseconds pass, and due parties be claimed."""
        self._older(ms)
        self.sweeper.swept = monotonic()  # lost jobs are looked for by `sweep` alone
        self.sweeper.tick()
        self.check()

    def sweep(self, ms: int = 2500) -> None:
        """Let *ms* pass, look for lost jobs, and look again as much later."""
        self._older(ms)
        self.sweeper.sweep()
        self._older(ms)
        self.sweeper.sweep()
        self.check()

    def _older(self, ms: int) -> None:
        older(self.redis, ms)
        self.sweeper.suspects = {
            party: (mark, since - ms / 1000)
            for party, (mark, since) in self.sweeper.suspects.items()
        }
        self.sweeper.probed -= ms / 1000

    def check(self) -> Figures:
        """The counting adds up, and a scan finds the same."""
        now = figures(self.redis)
        parts = now.accepted + now.duplicate + now.ignored + now.quarantined
        assert now.received == parts, now
        assert now.accepted == now.settled + now.pending + now.held + now.parked, now
        standings = list(self.look.every_standing())
        for word in ("settled", "pending", "held", "parked"):
            scanned = [getattr(one, word) for one in standings]
            gone = now.forgotten if word == "settled" else 0
            assert getattr(now, word) == sum(scanned) + gone, (word, now, standings)
            assert min(scanned, default=0) >= 0, standings
        return now

    def standing(self, name: str = "cus_1") -> Standing:
        """How customer *name* stands."""
        standing = self.look.standing(f"stripe:{name}")
        assert standing is not None
        return standing

    def claim(self, name: str = "cus_1") -> dict[str, str]:
        """The claim of customer *name*: claim, job, claims."""
        raw = self.redis.hgetall(keys.party(f"stripe:{name}"))
        return {key.decode(): value.decode() for key, value in raw.items()}

    def due_in(self, name: str = "cus_1") -> float | None:
        """Seconds until the next try of customer *name*; None: there is none."""
        at = self.redis.zscore(keys.LATER, f"stripe:{name}")
        return None if at is None else (at - milliseconds(self.redis)) / 1000

    def dirty(self) -> set[str]:
        """Customers of which something is not in Vitally."""
        parties = self.redis.zrange(keys.DIRTY, 0, -1)
        return {raw.decode().removeprefix("stripe:") for raw in parties}

    def writes(self) -> list[tuple[str, int | None]]:
        """Method and status of each write, in the order of arrival."""
        return [(one["method"], one["status"]) for one in self.vitally.writes()]

    def bodies(self) -> list[Any]:
        """What each write carried."""
        return [one["body"] for one in self.vitally.writes()]

    def account(self, account: str) -> dict[str, Any]:
        """What Vitally has of an account; AssertionError where it has none."""
        there = self.vitally.account(account)
        assert there is not None, f"no account {account}"
        return there

    def traits(self, account: str = "acme") -> dict[str, Any]:
        """The traits that Vitally has of an account."""
        traits: dict[str, Any] = self.account(account)["traits"]
        return traits

    def name(self, account: str = "acme") -> str:
        """What Vitally calls an account."""
        return str(self.account(account)["name"])

    def exists(self, account: str, name: str, **traits: Any) -> None:
        """Vitally has an account already; not one of the bridge's writes."""
        body = {"externalId": account, "name": name, "traits": traits}
        self.client.create(body)

    def fault(self, kind: str, method: str = "*", **options: Any) -> None:
        """The next write of this *method* goes wrong; see the simulator's faults."""
        self.vitally.break_with([{"kind": kind, "match": {"method": method}} | options])


SCORED = (keys.LATER, keys.DIRTY, keys.SLOTS, keys.HELD, keys.PARKED)
INSTANTS = {
    keys.RUN: ("since",),
    keys.party(""): ("claimed_at",),
    keys.account(""): ("wrote_at", "not_before", "since", "confirm_at", "objects_due"),
    keys.OBJECTS_REST: ("until",),
}
"""Where records have instants: what their names begin with, and their fields."""


def older(redis: Any, ms: int) -> None:
    """Move every stored instant back by *ms*, and let expire what would by then."""
    names = [raw.decode() for raw in redis.scan_iter(match="vb1:*", count=1000)]
    scored = [*SCORED, *redis.scan_iter(match=keys.mass("*"), _type="ZSET")]
    records = {
        name: fields
        for name in names
        for prefix, fields in INSTANTS.items()
        if name.startswith(prefix)
    }
    with redis.pipeline(transaction=False) as pipe:
        rows = zip(scored, each(redis, "zrange", scored, 0, -1), strict=True)
        for key, member in ((key, raw) for key, row in rows for raw in row):
            pipe.zincrby(key, -ms, member)
        known = zip(records.items(), each(redis, "hgetall", records), strict=True)
        for (key, fields), record in known:
            for field in fields:
                if int(record.get(field.encode()) or 0):
                    pipe.hincrby(key, field, -ms)
        left = zip(names, each(redis, "pttl", names), strict=True)
        for key, its in left:
            if its > 0:
                pipe.pexpire(key, its - ms)  # gone at once, where nothing is left
        pipe.execute()


@contextmanager
def bench(redis: Redis, *, deadline: float = 7.5) -> Iterator[Bench]:
    """A bench, with a simulated Vitally of its own, on an empty Redis."""
    with Simulator() as vitally:
        yield Bench(redis, vitally, deadline)
