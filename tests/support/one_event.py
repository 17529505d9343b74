"""What one event enters: files and functions of ours, and how often it goes to Redis.

`make size` prints it. A `customer.subscription.updated` is posted to the web app, and
the job that it queues writes one PUT to a simulated Vitally.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

from flask.testing import FlaskClient
from redis import Redis

from bridge.ingest import Ingress
from bridge.settings import Settings
from bridge.sources import discover
from bridge.store.health import Watch
from bridge.web import create_app
from tests.support.desk import bench, settings
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


def _client(chosen: Settings, redis: Redis, watch: Watch) -> FlaskClient:
    """A client of the web app."""
    ingress = Ingress(chosen, redis, discover().values())
    return create_app(chosen, ingress=ingress, redis=redis, watch=watch).test_client()


def entered() -> Entered:
    """Trace one event that queues a job, and count the trips of another."""
    with ExitStack() as ending:
        server = ending.enter_context(RedisServer())
        redis: Redis = ending.enter_context(server.client())
        desk = ending.enter_context(bench(redis))
        watch = Watch(redis)
        watch.check()
        ending.callback(watch.stop)
        chosen = settings(desk.vitally.url, server.url, STRIPE_MODE="test")
        client, shop = _client(chosen, redis, watch), Shop()

        def post(event: dict[str, object]) -> None:
            body, headers = delivery(event, SECRET, time.time())
            reply = client.post("/webhooks/stripe", data=body, headers=headers)
            assert 202 == reply.status_code, reply.text

        def work() -> None:
            before = len(desk.writes())
            desk.jobs.run(f"stripe:{shop.id}")
            assert [("PUT", 200)] == desk.writes()[before:]

        post(shop.signs_up())
        post(shop.begins())
        desk.work()
        desk.passes(PACE)
        update = shop.changes(quantity=2)
        with traced() as seen:
            post(update)
            work()
        desk.pop()
        desk.passes(PACE)
        more, most = shop.changes(quantity=3), shop.changes(quantity=4)
        steps = (lambda: post(more)), (lambda: post(most)), work
        return Entered(_named(seen), *(len(round_trips(redis, step)) for step in steps))


def table(event: Entered) -> str:
    """What `make size` prints."""
    rows = [
        ("files that one event enters", len(event.files)),
        ("functions that it enters", len(event.functions)),
        ("round trips to Redis: taking it in", event.joined),
        ("  where a job is queued", event.queued),
        ("  a job with one PUT", event.job),
    ]
    return "\n".join(f"{words:36}{number:>8}" for words, number in rows)
