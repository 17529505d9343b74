"""A bridge in one thread, and the main stories of its processes.

Processes are objects here, made anew after each death, as a platform starts them again. A
sender without a 2xx sends again, and a person types a command again. Time does not pass:
what Redis and the processes remember is made older (see `desk.older`).
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from typing import Any

import orjson
from flask.testing import FlaskClient
from redis.exceptions import RedisError

from bridge.config import Config
from bridge.errors import StorageError
from bridge.settings import Settings
from bridge.sources import load as configured
from bridge.sources import switched_on
from bridge.store import keys
from bridge.store.complete import Checkpoint, checkpoints
from bridge.store.connect import connect
from bridge.store.health import Watch
from bridge.web import create_app
from tests.chaos.checker import RECOVERY, at_rest
from tests.chaos.world import Known, bring_forward
from tests.support.command import called
from tests.support.desk import BETWEEN, QUEUE, older
from tests.support.desk import link as linked
from tests.support.fate import Fate
from tests.support.local_stripe import LocalStripe
from tests.support.stack import Stack
from tests.support.stripe import BORN, SECRET, Json, Shop, delivery
from tests.support.vitally.custom_objects import EXAMPLE_TOKEN
from workers.jobs import JOBS
from workers.process import Process

TRIES = 4
"""How often something is done again until it works; only one try is struck."""

AGAIN = 5
"""Seconds until a sender, or a person, tries again."""

PACE = 6
"""Seconds after which an account may be written to at once, and a lease has expired."""

REST = 200
"""Seconds in which all that is left must be done."""


class Hurried(threading.Event):
    """A stop for which nobody waits."""

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set; wait for short times alone."""
        time.sleep(min(timeout or 0.0, 0.01))
        return self.is_set()


class Worker(Process):
    """A worker whose threads are steps; it stops once no job waits."""

    def __init__(self, bridge: Bridge, name: str) -> None:
        settings, config = bridge.configured
        super().__init__(settings, config, name, Hurried())
        self.bridge, self.fate = bridge, bridge.fate
        self.threads, self.counted = [], False
        self.context.chance = lambda: 1.0

    def begins(self) -> None:
        """Start, as far as other processes can see it."""
        self._begin()
        JOBS.set(self.jobs)

    def sweeps(self) -> None:
        """Do what the sweeper's thread does."""
        with self.fate.named("sweeper"), suppress(RedisError):
            self.sweeper.tick()

    def works(self) -> None:
        """Do the jobs that wait, as `run` does.

        RQ's session is a short one here. Where it begins and ends counts in one story.
        """
        if not (self.bridge.is_whole or self.has_jobs()):
            return
        self.counted = self.fate.is_counting
        self.stop.clear()
        while not self.stop.is_set():
            self.fate.is_counting = self.counted and self.bridge.is_whole
            with suppress(RedisError):
                self._work()
        self.fate.is_counting = self.counted

    def reconciles(self) -> None:
        """Do what the thread of the schedule does, until it has nothing to do."""
        with self.fate.named("sweeper"):
            for _ in range(TRIES):
                with self.fate.aside():
                    self.bridge.passes(1)
                with suppress(RedisError):
                    self.schedule.tick()

    def completes(self) -> None:
        """Do what the thread of the ledger does, until it has nothing to do."""
        with (
            self.fate.named("sweeper"),
            suppress(RedisError, StorageError),
        ):
            while self.completing.tick():
                pass

    def gate(self) -> float:
        self.fate.is_counting = self.counted
        wait = super().gate()
        if wait or not self.has_jobs():
            self.stop.set()
            self.fate.is_counting = self.counted and self.bridge.is_whole
        return wait

    def has_jobs(self) -> bool:
        """Whether jobs wait; not one of its own calls."""
        with self.fate.aside():
            return bool(self.bridge.redis.llen(QUEUE))

    def grows_older(self, seconds: float) -> None:
        """Let *seconds* pass for what it remembers itself."""
        sweeper = self.sweeper
        for name in ("swept", "asked", "watched", "probed", "shut"):
            setattr(sweeper, name, getattr(sweeper, name) - seconds)
        sweeper.suspects = {
            party: (mark, since - seconds)
            for party, (mark, since) in sweeper.suspects.items()
        }
        self.schedule.rests_until -= seconds
        self.completing.rests = {
            name: (at - seconds, rest)
            for name, (at, rest) in self.completing.rests.items()
        }


class Bridge(Known):
    """A bridge in one thread, for one story; its processes die as *fate* has it."""

    limit = 1_250_000
    configured: tuple[Settings, Config]
    is_whole = False
    """Whether the beginning and the end of RQ's session count."""

    def __init__(self, stack: Stack, source: LocalStripe, fate: Fate) -> None:
        self.stack, self.source, self.fate = stack, source, fate
        stack.environ.pop("BRIDGE_CONFIG", None)
        self.reads_settings()
        self.taken = {}
        self.problems: list[str] = []
        self._names = count(1)
        self._web: FlaskClient | None = None
        self._watch: Watch | None = None
        self._worker: Worker | None = None
        self._more: list[Callable[[Worker], None]] = []
        self._until: Callable[[], bool] = lambda: True
        self.redis: Any = stack.redis
        stack.redis.flushdb()
        stack.vitally.reset()
        source.clear()

    def shows_objects(self) -> None:
        """Make each subscription an instance of a custom object."""
        (settings, config), vitally = self.configured, self.stack.vitally
        vitally.custom_objects.objects["sub"] = {"id": "sub", "name": "Subscription"}
        token = {"vitally_analytics_token": EXAMPLE_TOKEN}
        settings = replace(settings, vitally_analytics_url=vitally.url, **token)
        self.configured = settings, replace(config, subscription_object="sub")

    def reads_settings(self, text: str = "") -> None:
        """Read the settings, and *text* as `bridge.toml`, if there is one."""
        if text:
            file = self.stack.folder / "bridge.toml"
            file.write_text(text)
            self.stack.environ["BRIDGE_CONFIG"] = str(file)
        environ = {name: str(value) for name, value in self.stack.environ.items()}
        self.configured = configured(environ)

    def counts(self) -> None:
        """Begin the story itself: each call from now on is a crash point."""
        self.fate.is_counting = True

    @contextmanager
    def before(self) -> Iterator[None]:
        """Do inside what has happened before: nobody dies, and it comes to rest."""
        was, self.fate.is_counting = self.fate.is_counting, False
        yield
        self.rests()
        self.fate.is_counting = was

    def tell(self, event: Json, *, is_taken: bool = True) -> None:
        """Deliver *event* as its sender does, until it is answered 2xx."""
        for _ in range(TRIES):
            if self._post(event) == 202:
                if is_taken:
                    self.taken[event["id"]] = event
                return
            self.passes(AGAIN)
        self.problems.append(f"I1: {event['id']} is not taken")

    def _post(self, event: Json) -> int:
        body, headers = delivery(event, SECRET, time.time())
        status = 0
        with self.fate.lives("web"):
            reply = self.web().post("/webhooks/stripe", data=body, headers=headers)
            status = reply.status_code
        if self.fate.is_dead:
            self._web, status = None, 0
        return status

    def web(self) -> FlaskClient:
        """The web process, whose watch has just looked; another one after a death."""
        settings, config = self.configured
        if self._web is None:
            redis = connect(settings.redis_url, verify_tls=True, timeout=5, most=4)
            self._watch = Watch.of(redis, settings)
            app = create_app(settings, config, redis=redis, watch=self._watch)
            self._web = app.test_client()
        assert self._watch is not None
        self._watch.check()
        return self._web

    def goes_on(
        self, step: Callable[[Worker], None], until: Callable[[], bool]
    ) -> None:
        """Let the worker do one *step* more each time, *until* that is done."""
        self._more, self._until = [step], until

    def later(self) -> None:
        """Let the worker work when the pace of an account is no matter any more."""
        self.passes(PACE)
        self.work()

    def work(self) -> None:
        """Let the worker live: it sweeps, and does the jobs that wait."""
        with self.fate.lives("worker"):
            if self._worker is None:
                self._worker = Worker(self, f"worker-{next(self._names)}")
                self._worker.begins()
            for step in (Worker.sweeps, *self._more, Worker.works):
                step(self._worker)
        if self.fate.is_dead:
            self._worker = None

    def command(self, *words: str) -> None:
        """Type a command, until it ends well."""
        error: Exception | None = None
        for _ in range(TRIES):
            error = None
            with self.fate.lives("command"):
                try:
                    called(*words, environ=self.stack.environ)
                except AssertionError as failed:
                    error = failed
            if not (error or self.fate.is_dead):
                return
            self.passes(AGAIN)
        self.problems.append(f"I7: {words} does not end well: {error}")

    def passes(self, seconds: int) -> None:
        """Let *seconds* pass."""
        older(self.redis, seconds * 1000)
        if self._worker:
            self._worker.grows_older(seconds)

    def rests(self) -> None:
        """Let time pass until nothing is left to do, and what is appointed soon is done."""
        for second in (*range(int(RECOVERY)), *range(int(RECOVERY), REST, PACE)):
            self.work()
            is_done = self._is_done()
            if is_done and self._until() and not bring_forward(self.redis):
                return
            if second == RECOVERY and not is_done:
                self.problems.append(f"I6: {self.stack.figures()}")
            self.passes(1 if second < RECOVERY else PACE)
        self.problems.append("I6: it does not come to rest")

    def _is_done(self) -> bool:
        now = self.stack.figures()
        return not (now.pending or now.dirty)

    def wrong(self) -> list[str]:
        """All that is wrong at rest."""
        with self.fate.lives("web"):
            statuses = [
                self.web().get(path).status_code for path in ("/healthz", "/readyz")
            ]
        if statuses != [200, 200]:
            self.problems.append(f"I7: /healthz and /readyz: {statuses}")
        if left := self.redis.lrange(BETWEEN, 0, -1):
            self.problems.append(f"I6: between RQ's lists: {left}")
        for id_, one in self.stack.vitally.instances().items():
            owed = self.redis.hget(keys.instances("acme"), id_)[:1]
            mrr = self.stack.account("acme")["traits"]["mrr"]
            is_known = owed == b"0" or self.redis.exists(keys.LATER)
            if one["traits"]["mrr"] != mrr or not is_known:
                self.problems.append(f"I2: {one} is owed {owed} looks")
        return [*self.problems, *at_rest(self)]


# --- Stories ---------------------------------------------------------------------------


def customer(bridge: Bridge, account: str = "acme") -> Shop:
    """A customer of long ago, who is right in Vitally."""
    shop = Shop()
    with bridge.before():
        bridge.tell(shop.signs_up(account=account))
        bridge.tell(shop.begins())
    return shop


def accept(bridge: Bridge) -> None:
    """An event, one that joins it, a repeat, one without effect, one that is refused."""
    shop = Shop()
    first = shop.signs_up(account="acme")
    bridge.counts()
    for event in (first, shop.begins(), first):
        bridge.tell(event)
    bridge.tell(shop.pays(), is_taken=False)
    bridge.tell(shop.changes(status=7), is_taken=False)


def create(bridge: Bridge) -> None:
    """A worker starts, creates an account, and stops."""
    shop = Shop()
    bridge.tell(shop.signs_up(account="acme"))
    bridge.counts()
    bridge.is_whole = True
    bridge.later()


def update(bridge: Bridge) -> None:
    """A subscription changes, and then changes back."""
    shop = customer(bridge)
    bridge.counts()
    for quantity in (2, 1):
        bridge.tell(shop.changes(quantity=quantity))
        bridge.later()


def objects(bridge: Bridge) -> None:
    """A subscription changes that is an instance of a custom object, too."""
    bridge.shows_objects()
    shop = customer(bridge)
    bridge.counts()
    bridge.tell(shop.changes(quantity=2))
    for _ in range(4):
        bridge.later()


def end(bridge: Bridge) -> None:
    """A subscription ends."""
    shop = customer(bridge)
    bridge.counts()
    bridge.tell(shop.ends())
    bridge.later()


def hold(bridge: Bridge) -> None:
    """A customer has no account, and gets one later."""
    shop = Shop()
    bridge.counts()
    bridge.tell(shop.signs_up())
    bridge.later()
    bridge.tell(shop.is_changed(metadata={"account": "acme"}))
    bridge.later()


def park(bridge: Bridge) -> None:
    """Vitally refuses a change; a person tries it again."""
    shop = customer(bridge)
    bridge.stack.vitally.break_with([{"kind": "status", "status": 422, "times": None}])
    bridge.counts()
    bridge.tell(shop.changes(quantity=2))
    bridge.later()
    with bridge.before():
        """It is parked, whoever has died."""
    bridge.stack.vitally.mend()
    bridge.command("retry", "--parked")
    bridge.later()


def relink(bridge: Bridge) -> None:
    """A customer's metadata name another account."""
    shop = customer(bridge, "old")
    bridge.counts()
    bridge.tell(shop.is_changed(metadata={"account": "acme"}))
    for _ in range(3):
        bridge.later()


def link(bridge: Bridge) -> None:
    """A person links a customer to another account."""
    shop = customer(bridge, "old")
    bridge.counts()
    bridge.command("link", f"stripe:{shop.id}", "acme")
    bridge.more = [linked(shop.id, "acme")]
    for _ in range(3):
        bridge.later()


def sweep(bridge: Bridge) -> None:
    """A job is lost; the sweeper queues another."""
    shop = customer(bridge)
    bridge.tell(shop.changes(quantity=2))
    bridge.redis.lpop(QUEUE)
    bridge.counts()
    for _ in range(3):
        bridge.later()


def refresh(bridge: Bridge) -> None:
    """A customer first met in mid-life is read from Stripe."""
    (shop,) = _elsewhere(bridge, 1)
    bridge.counts()
    bridge.tell(shop.changes(quantity=2, seconds=7200))
    bridge.later()


def backfill(bridge: Bridge) -> None:
    """All customers are read from Stripe."""
    _elsewhere(bridge, 2)
    bridge.counts()
    bridge.command("backfill", "stripe")
    bridge.later()


def reconcile(bridge: Bridge) -> None:
    """Somebody changed an account in Vitally; the reconciliation finds and mends it."""
    customer(bridge)
    _others_write(bridge)
    bridge.redis.set(keys.RECONCILED, 1)
    bridge.goes_on(
        Worker.reconciles, lambda: int(bridge.redis.get(keys.RECONCILED)) > 1
    )
    bridge.counts()
    for _ in range(2):
        bridge.later()


def complete(bridge: Bridge) -> None:
    """Webhooks never came; the bridge finds the events in Stripe's list."""
    shop, redis = Shop(), bridge.redis
    shop.last = int(time.time()) - 7200
    for event in (shop.signs_up(account="acme"), shop.begins()):
        bridge.source.put(event)
        bridge.taken[event["id"]] = event
    since = (shop.last - 3600) * 1000
    began = Checkpoint(since, since, run=redis.info("server")["run_id"])
    redis.hset(keys.COMPLETE, "stripe", orjson.dumps(began._asdict()))

    def is_complete() -> bool:
        place = checkpoints(redis.hgetall(keys.COMPLETE))["stripe"]
        return place.up_to > since

    bridge.goes_on(Worker.completes, is_complete)
    bridge.counts()
    for _ in range(2):
        bridge.later()


def apply(bridge: Bridge) -> None:
    """A person makes a plan, and applies it."""
    customer(bridge)
    _others_write(bridge)
    with bridge.before():
        bridge.command("reconcile")
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/plan.json"
        bridge.counts()
        bridge.command("plan", "--out", file)
        bridge.command("apply", file, "--no-wait")
    bridge.later()


def organize(bridge: Bridge) -> None:
    """Of two accounts of an organization one moves to another, which is new, and leaves."""
    bridge.reads_settings(
        "[sources.stripe]\norganization = ['customer.metadata.org']\n"
    )
    shops = {"acme": Shop(), "birch": Shop()}
    with bridge.before():
        for name, shop in shops.items():
            bridge.tell(shop.signs_up(account=name))
            bridge.tell(shop.is_changed(metadata={"account": name, "org": "one"}))
            bridge.tell(shop.begins())
    bridge.counts()
    for place in ({"org": "two"}, {}):
        moves = shops["acme"].is_changed(metadata={"account": "acme", **place})
        bridge.tell(moves)
        for _ in range(3):
            bridge.later()


STORIES: Mapping[str, Callable[[Bridge], None]] = {
    one.__name__: one
    for one in (
        *(accept, create, update, objects, end, hold, park, relink, link),
        *(sweep, refresh, backfill, reconcile, complete, apply, organize),
    )
}


def _elsewhere(bridge: Bridge, number: int) -> list[Shop]:
    """Customers of whom only Stripe knows."""
    bridge.source.clock = lambda: BORN + 3600
    shops = [Shop() for _ in range(number)]
    for shop in shops:
        for event in (shop.signs_up(account=f"of_{shop.id}"), shop.begins()):
            bridge.source.put(event["data"]["object"])
    options = bridge.configured[0].sources
    (kind,) = switched_on(options)
    assert kind.archive is not None
    archive = kind.archive(options)
    assert archive is not None
    bridge.more = [f for shop in shops for f in archive.party(f"stripe:{shop.id}")]
    return shops


def _others_write(bridge: Bridge) -> None:
    """Somebody else writes to acme; it is long ago that Vitally was read."""
    with bridge.stack.vitally.lock:
        bridge.stack.vitally.by_external_id["acme"]["traits"]["mrr"] = 7
