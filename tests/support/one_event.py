"""What one event enters: files and functions of ours, and how often it goes to Redis.

`make size` prints it. A `customer.subscription.updated` is posted to the web app, and
the job that it queues writes one PUT to a simulated Vitally.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

from redis import Redis

from bridge.ingest import Ingress
from bridge.sources import discover
from bridge.store.health import Watch
from bridge.web import create_app
from tests.support.desk import Bench, bench, settings
from tests.support.processes import ROOT
from tests.support.round_trips import round_trips
from tests.support.server import RedisServer
from tests.support.stripe import SECRET, Shop, delivery

OURS = (f"{ROOT}/bridge/", f"{ROOT}/workers/")
PACE = 6000
"""Milliseconds after which an account may be written to again at once."""


class Entered(NamedTuple):
    """What web and worker enter for one event, and their round trips to Redis."""

    functions: frozenset[tuple[str, str]]
    queued: int
    joined: int
    job: int

    @property
    def files(self) -> frozenset[str]:
        """The files of these functions."""
        return frozenset(file for file, _ in self.functions)


@contextmanager
def traced() -> Iterator[set[CodeType]]:
    """Collect the code of ours that is entered meanwhile, in whatever thread."""
    entered: set[CodeType] = set()

    def enter(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            entered.add(frame.f_code)

    threading.setprofile(enter)
    sys.setprofile(enter)
    try:
        yield entered
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _named(entered: set[CodeType]) -> frozenset[tuple[str, str]]:
    """File and name; what has no name of its own belongs to the function around it."""
    return frozenset(
        (str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname)
        for code in entered
        if not code.co_name.startswith("<")
    )


class _Life:
    """A shop whose account is there already, and how its next event is told."""

    def __init__(self, desk: Bench, url: str, watch: Watch) -> None:
        self.desk = desk
        self.shop = Shop()
        said = settings(desk.vitally.url, url, STRIPE_MODE="test")
        ingress = Ingress(said, desk.redis, discover().values())
        app = create_app(said, ingress=ingress, redis=desk.redis, watch=watch)
        self._client = app.test_client()
        self.post(self.shop.signs_up())
        self.post(self.shop.begins())
        desk.work()
        desk.passes(PACE)

    def post(self, told: dict[str, object]) -> None:
        """Deliver an event; AssertionError where it is not taken."""
        body, headers = delivery(told, SECRET, time.time())
        reply = self._client.post("/webhooks/stripe", data=body, headers=headers)
        assert 202 == reply.status_code, reply.text

    def work(self) -> None:
        """Do the job of the shop, which writes once."""
        before = len(self.desk.writes())
        self.desk.jobs.run(f"stripe:{self.shop.id}")
        assert [("PUT", 200)] == self.desk.writes()[before:]


def entered() -> Entered:
    """Trace one event that queues a job, and count the trips of another."""
    with ExitStack() as ending:
        server = ending.enter_context(RedisServer())
        redis: Redis = ending.enter_context(server.client())
        desk = ending.enter_context(bench(redis))
        watch = Watch(redis)
        watch.look()
        ending.callback(watch.stop)
        life = _Life(desk, server.url, watch)
        update = life.shop.changes(quantity=2)
        with traced() as seen:
            life.post(update)
            life.work()
        desk.pop()
        desk.passes(PACE)

        def trips(step: Callable[[], None]) -> int:
            return len(round_trips(redis, step))

        more, most = life.shop.changes(quantity=3), life.shop.changes(quantity=4)
        queued = trips(lambda: life.post(more))
        joined = trips(lambda: life.post(most))
        return Entered(_named(seen), queued, joined, trips(life.work))


def table(found: Entered) -> str:
    """What `make size` prints."""
    rows = [
        ("files that one event enters", len(found.files)),
        ("functions that it enters", len(found.functions)),
        ("round trips to Redis: taking it in", found.joined),
        ("  where a job is queued", found.queued),
        ("  a job with one PUT", found.job),
    ]
    return "\n".join(f"{words:36}{number:>8}" for words, number in rows)
