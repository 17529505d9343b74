"""A bridge among proxies, its sender, and what is known of both while a run lasts."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, Self

from redis import Redis
from urllib3.exceptions import HTTPError

from bridge.domain.facts import Fact
from bridge.store import keys
from bridge.store.connect import load
from bridge.store.lease import own_account
from tests.support.processes import Running
from tests.support.proxy import Proxy, http, resp
from tests.support.stack import HERE, Stack, Web
from tests.support.stripe import SECRET, Answer, Stripe
from tests.support.waiting import eventually

NEXT_SECRET = "whsec_next_example"
"""The secret that the sender is about to change to."""

PASSWORD = "example-password"

SLOW = 3.0
"""Seconds for an answer: the contract's two, and one that a busy machine may take."""

LIMIT = 12_000
"""Units a minute of the simulated Vitally: high, yet a run may come to it."""

SOON_MS = 60_000
"""What is appointed later than this is no part of the work in hand."""


def script(name: str, *behind: bytes) -> bytes:
    """A pattern of the call of a script, and of what its arguments hold, in order."""
    return b".*".join((sha1(load(name).encode()).hexdigest().encode(), *behind))


class Build(Stack):
    """A stack of another build: what the Procfile says, broken as *variant* says."""

    variant = ""

    def start(self, process_type: str, environ: Mapping[str, object]) -> Running:
        if not self.variant:
            return super().start(process_type, environ)
        words = ("-m", "tests.chaos.broken", self.variant, process_type)
        return Running(
            [sys.executable, *words],
            environ=environ,
            folder=self.folder,
            name=f"{process_type}-{time.monotonic_ns()}",
        )


class Known:
    """What the checker has to know of a run.

    *more* are facts that came otherwise than by the events that were *taken*: from a
    source's API, or by hand. How often, nobody counts.
    """

    stack: Stack
    taken: dict[str, Mapping[str, Any]]
    more: Sequence[Fact] = ()
    naps: Sequence[tuple[float, float]] = ()
    leaving: Sequence[tuple[Running, float]] = ()
    limit: int


class World(Known):
    """Everything of one run; what is found wrong meanwhile goes to *problems*.

    *say* is told what happens. *processes*: how many each line `worker` keeps.
    *variant*: see `broken`. As a context manager it runs inside.
    """

    def __init__(
        self,
        folder: Path,
        say: Callable[..., None] = lambda *_, **__: None,
        *,
        processes: Sequence[int] = (1, 2),
        variant: str = "",
        limit: int = LIMIT,
    ) -> None:
        self.say = say
        self.lock = threading.Lock()
        self.problems: list[str] = []
        self.taken = {}
        self.refused: list[int] = []
        self.events: Sequence[Mapping[str, Any]] = ()
        self.burst = 0
        self.disturbed = time.monotonic()
        self.naps: list[tuple[float, float]] = []
        self.leaving: list[tuple[Running, float]] = []
        self.processes = processes
        self.limit = limit
        self.stack = Build(
            folder,
            STRIPE_WEBHOOK_SECRET=f"{SECRET},{NEXT_SECRET}",
            STRIPE_ACCOUNT_ID_KEY="account",
            CONSOLE_PASSWORD=PASSWORD,
            # A random life ends and begins again more often than customers do.
            BRIDGE_MASS_ACCOUNTS=1_000_000,
        )
        self.stack.variant = variant
        self.stack.vitally.turn(rate_limit=limit)
        redis = self.stack.redis_server.port
        vitally = int(self.stack.vitally.url.rpartition(":")[2])
        self.links = {"web": Proxy(redis, resp), "worker": Proxy(redis, resp)}
        self.vitally = Proxy(vitally, http)
        self.workers: list[Running] = []

    @property
    def proxies(self) -> Sequence[Proxy]:
        """What stands between the processes and their servers."""
        return (*self.links.values(), self.vitally)

    def __enter__(self) -> Self:
        """Start two web processes and the lines of workers behind the proxies."""
        for proxy in self.proxies:
            proxy.accept()
        self.workers += [self.new_worker(place) for place in range(len(self.processes))]
        for _ in range(2):
            self.new_web()
        self.stack.ready()
        self.disturb()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.__exit__()
        for proxy in self.proxies:
            proxy.__exit__()

    def new_worker(self, place: int = 0) -> Running:
        """Start the line `worker` of this place."""
        return self.stack.worker(
            REDIS_URL=f"redis://{HERE}:{self.links['worker'].port}/0",
            VITALLY_BASE_URL=f"http://{HERE}:{self.vitally.port}",
            WORKER_PROCESSES=self.processes[place],
        )

    def replaced_worker(self, place: int) -> Running:
        """Start another line `worker` in this place; the old one, still running."""
        self.disturb()
        old, self.workers[place] = self.workers[place], self.new_worker(place)
        self.stack.workers.remove(old)
        return old

    def new_web(self) -> Web:
        """Start one more web process."""
        url = f"redis://{HERE}:{self.links['web'].port}/0"
        web = self.stack.web(REDIS_URL=url)
        self.sender()
        return web

    def sender(self) -> None:
        """Let the sender know the web processes that there are now."""
        self.stripe = Stripe([web.url for web in self.stack.webs])

    def leave(self, running: Running) -> None:
        """Tell a process to end, in its own time."""
        running.signal(signal.SIGTERM)
        self.leaving.append((running, time.monotonic()))

    def disturb(self) -> None:
        """Note that workers or their Redis have just been interfered with."""
        self.disturbed = time.monotonic()

    def wrong(self, found: str) -> None:
        """Note a problem: `I7: …`."""
        self.say("problem", found=found)
        with self.lock:
            self.problems.append(found)

    def took(self, number: int) -> None:
        """Note that an event was answered 202."""
        with self.lock:
            self.taken[self.events[number]["id"]] = self.events[number]

    def post(self, number: int) -> None:
        """Deliver an event; without a 2xx it is delivered again later."""
        event = self.events[number]
        answer = self.ask(lambda: self.stripe.post(event), event["id"])
        if answer is None or answer.status == 503:
            with self.lock:
                self.refused.append(number)
        elif answer.status == 202:
            self.took(number)
        else:
            self.wrong(f"I1: {event['id']} was answered {answer.status}")

    def tell(self, event: Mapping[str, Any]) -> None:
        """Post one more event."""
        self.events = [*self.events, event]
        self.post(len(self.events) - 1)

    def post_the_rest(self) -> None:
        """Deliver again what was refused, and at last every event that never came."""

        def all_taken() -> bool:
            with self.lock:
                again, self.refused = self.refused, []
            for number in again:
                self.post(number)
            return not self.refused

        eventually(all_taken, 30, what="a 2xx for every event")

    def ask(self, request: Callable[[], Answer], what: str) -> Answer | None:
        """Make one request and see that its answer is there in time."""
        begun = time.monotonic()
        try:
            answer = request()
        except HTTPError as error:
            answer = None
            self.say("no answer", to=what, error=type(error).__name__)
        took = time.monotonic() - begun
        if took > SLOW:
            self.wrong(f"I7: {what} was answered after {took:.1f} s")
        if answer is not None and answer.status != 202:
            self.say("answer", to=what, status=answer.status, ms=int(took * 1000))
        return answer

    def mend(self) -> None:
        """Take every fault away that is left."""
        for proxy in self.proxies:
            proxy.mend()
        self.stack.vitally.mend()
        self.disturb()
        self.stack.ready()


def bring_forward(redis: Redis) -> int:
    """Let come now what is appointed soon, say the look after a doubtful write."""
    now = int(redis.time()[0]) * 1000
    soon = redis.zrangebyscore(keys.LATER, "-inf", now + SOON_MS)
    for raw in soon:
        party = raw.decode()
        known = redis.hget(keys.party(party), "account") or b""
        account = keys.account(known.decode() or own_account(party) or party)
        for name in ("confirm_at", "not_before", "objects_due"):
            if redis.hexists(account, name):
                redis.hset(account, name, now)
        redis.zadd(keys.LATER, {party: now}, xx=True)
    return len(soon)


def come_to_rest(stack: Stack, within: float = 30.0) -> None:
    """Wait until all is settled and nothing is appointed soon."""

    def nothing_left() -> bool:
        left = bring_forward(stack.redis)
        seen = stack.figures()
        return not (left or seen.dirty or seen.pending)

    eventually(nothing_left, within, what="rest")
