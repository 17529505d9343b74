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
from bridge.domain.facts import Fact, Stamp
from bridge.settings import Settings
from bridge.sources import discover
from bridge.store import keys
from bridge.store.accept import Accepted
from bridge.store.inspect import Figures, Look, Standing, figures
from bridge.store.view import Outcome
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
    rank = {"created": 0, "updated": 2, "deleted": 4}[kind]
    told = f"customer.{kind}"
    return _fact(name, "customer", (kind == "deleted", at, rank), told, value, event)


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
    rank = {"created": 0, "updated": 2, "deleted": 4}[kind]
    told = f"customer.subscription.{kind}"
    return _fact(name, f"subscription:{sub}", (final, at, rank), told, value, event)


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
    told = {key: one for key, one in value.items() if one is not None}
    moment = Stamp(final, NOON + at * 1000, rank)
    id_ = event or f"evt_{number}"
    return Fact(f"stripe:{name}", thing, moment, id_, kind, told, f"state_{number}")


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
        self.client = Vitally(vitally.url, vitally.authorization, deadline=deadline)
        self.context.vitally = self.client
        self.queue, self.accept = self.context.queue, self.context.accept
        self.leases, self.breaker = self.context.leases, self.context.breaker
        self.throttle, self.look = self.context.throttle, Look(redis)
        self.jobs = Jobs(self.context)
        self.sweeper = self.another_sweeper("one")

    def another_sweeper(self, worker: str) -> Sweeper:
        """The sweeper of a worker of this name."""
        return Sweeper(self.context, worker)

    def set(self, **changes: Any) -> None:
        """Change the worker's settings (`bridge_create="never"`) or its `config`."""
        self.context.config = changes.pop("config", self.context.config)
        self.context.settings = replace(self.context.settings, **changes)

    def tell(self, *facts: Fact) -> Accepted:
        """Take facts in, each as one event, and queue the job as the ingress does."""
        for fact in facts:
            taken = self.take(fact)
            if taken.claim:
                front = fact.stamp.final
                self.queue.push(
                    fact.party, taken.claim, f"{fact.kind} {fact.event}", front=front
                )
        return taken

    def take(self, fact: Fact) -> Accepted:
        """Take a fact in and die before its job is queued."""
        taken = self.accept.facts("stripe", [fact])
        self.check()
        return taken

    def run(self, name: str) -> str:
        """Do a job of customer *name* that no queue held."""
        word = self.jobs.run(f"stripe:{name}")
        self.check()
        return word

    def unchanged(self) -> Outcome:
        """The outcome of a job that found nothing to write."""
        return Outcome("unchanged", known=True)

    def work(self) -> list[str]:
        """Do all jobs that wait; return their outcomes."""
        words: list[str] = []
        while (job := self.pop()) is not None:
            words.append(self.jobs.run(job.args[0]))
            job.delete()
            self.check()
            assert len(words) < MOST_JOBS, f"jobs without end: {words}"
        return words

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
        for key in (keys.LATER, keys.DIRTY, keys.SLOTS, keys.HELD, keys.PARKED):
            for raw in self.redis.zrange(key, 0, -1):
                self.redis.zincrby(key, -ms, raw)
        instants = {
            keys.party(""): ("claimed_at",),
            keys.account(""): ("wrote_at", "not_before", "since", "confirm_at"),
        }
        fields = (
            (key, name)
            for prefix, names in instants.items()
            for key in self.redis.scan_iter(match=f"{prefix}*")
            for name in names
        )
        for key, name in fields:
            if int(self.redis.hget(key, name) or 0):
                self.redis.hincrby(key, name, -ms)
        for key in (keys.PAUSE, *self.redis.scan_iter(match=f"{keys.lease('')}*")):
            if (left := self.redis.pttl(key)) > 0:
                self.redis.pexpire(key, max(1, left - ms))
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
        found = list(self.look.every_standing())
        for word in ("settled", "pending", "held", "parked"):
            scanned = sum(getattr(one, word) for one in found)
            assert getattr(now, word) == scanned, (word, now, found)
            assert min((getattr(one, word) for one in found), default=0) >= 0, found
        return now

    def standing(self, name: str = "cus_1") -> Standing:
        """How customer *name* stands."""
        found = self.look.standing(f"stripe:{name}")
        assert found is not None
        return found

    def claim(self, name: str = "cus_1") -> dict[str, str]:
        """The claim of customer *name*: claim, job, claims."""
        raw = self.redis.hgetall(keys.party(f"stripe:{name}"))
        return {key.decode(): value.decode() for key, value in raw.items()}

    def due_in(self, name: str = "cus_1") -> float | None:
        """Seconds until the next try of customer *name*; None: there is none."""
        at = self.redis.zscore(keys.LATER, f"stripe:{name}")
        seconds, micros = self.redis.time()
        return None if at is None else at / 1000 - seconds - micros / 1e6

    def dirty(self) -> set[str]:
        """Customers of which something is not in Vitally."""
        found = self.redis.zrange(keys.DIRTY, 0, -1)
        return {raw.decode().removeprefix("stripe:") for raw in found}

    def writes(self) -> list[tuple[str, int | None]]:
        """Method and status of each write, in the order of arrival."""
        return [(one["method"], one["status"]) for one in self.vitally.writes()]

    def bodies(self) -> list[Any]:
        """What each write carried."""
        return [one["body"] for one in self.vitally.writes()]

    def traits(self, account: str = "acme") -> dict[str, Any]:
        """The traits that Vitally has of an account."""
        found = self.vitally.account(account)
        assert found is not None, f"no account {account}"
        traits: dict[str, Any] = found["traits"]
        return traits

    def name(self, account: str = "acme") -> str:
        """What Vitally calls an account."""
        found = self.vitally.account(account)
        assert found is not None, f"no account {account}"
        return str(found["name"])

    def exists(self, account: str, name: str, **traits: Any) -> None:
        """Vitally has an account already; not one of the bridge's writes."""
        body = {"externalId": account, "name": name, "traits": traits}
        self.client.create(body)

    def fault(self, kind: str, method: str = "*", **options: Any) -> None:
        """The next write of this *method* goes wrong; see the simulator's faults."""
        self.vitally.break_with([{"kind": kind, "match": {"method": method}} | options])


@contextmanager
def bench(redis: Redis, *, deadline: float = 7.5) -> Iterator[Bench]:
    """A bench, with a simulated Vitally of its own, on an empty Redis."""
    with Simulator() as vitally:
        yield Bench(redis, vitally, deadline)
