"""A bridge among proxies, its sender, and what is known of both while a run lasts."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from tests.support.processes import Running
from tests.support.proxy import Proxy, http, resp
from tests.support.stack import HERE, Stack, Web
from tests.support.stripe import SECRET, Answer, Stripe

NEXT_SECRET = "whsec_next_example"
"""The secret that the sender is about to change to."""

PASSWORD = "example-password"

SLOW = 3.0
"""Seconds for an answer: the contract's two, and one that a busy machine may take."""

LIMIT = 12_000
"""Units a minute of the simulated Vitally: high, yet a run may come to it."""


class Build(Stack):
    """A stack of another build: what the Procfile says, broken as *variant* says."""

    variant = ""

    def start(self, process_type: str, environ: Mapping[str, object]) -> Running:
        if not self.variant:
            return super().start(process_type, environ)
        command = [sys.executable, "-m", "tests.chaos.broken", self.variant]
        name = f"{process_type}-{time.monotonic_ns()}"
        return Running(
            [*command, process_type], environ=environ, folder=self.folder, name=name
        )


class World:
    """Everything of one run; what is found wrong meanwhile goes to *problems*.

    *processes*: how many each line `worker` keeps. *variant*: see `broken`.
    """

    def __init__(
        self,
        folder: Path,
        say: Callable[..., None],
        *,
        processes: Sequence[int] = (1, 2),
        variant: str = "",
    ) -> None:
        self.say = say
        self.lock = threading.Lock()
        self.problems: list[str] = []
        self.taken: dict[str, Mapping[str, Any]] = {}
        self.refused: list[int] = []
        self.events: Sequence[Mapping[str, Any]] = ()
        self.disturbed = time.monotonic()
        self.ill_since: float | None = None
        self.naps: list[tuple[float, float]] = []
        self.leaving: list[tuple[Running, float]] = []
        self.processes = processes
        self.limit = LIMIT
        self.stack = Build(
            folder,
            STRIPE_WEBHOOK_SECRET=f"{SECRET},{NEXT_SECRET}",
            STRIPE_ACCOUNT_ID_KEY="account",
            CONSOLE_PASSWORD=PASSWORD,
        )
        self.stack.variant = variant
        self.stack.vitally.turn(rate_limit=LIMIT)
        redis = self.stack.redis_server.port
        vitally = int(self.stack.vitally.url.rpartition(":")[2])
        self.links = {"web": Proxy(redis, resp), "worker": Proxy(redis, resp)}
        self.vitally = Proxy(vitally, http)
        self.workers: list[Running] = []

    def start(self) -> None:
        """Start two web processes and the lines of workers behind the proxies."""
        for proxy in (*self.links.values(), self.vitally):
            proxy.accept()
        self.workers += [self.new_worker(place) for place in range(len(self.processes))]
        for _ in range(2):
            self.new_web()
        self.stack.ready()
        self.disturbed = time.monotonic()

    def end(self) -> None:
        """End every process and proxy."""
        self.stack.__exit__()
        for proxy in (*self.links.values(), self.vitally):
            proxy.__exit__()

    def new_worker(self, place: int) -> Running:
        """Start the line `worker` of this place."""
        return self.stack.worker(
            REDIS_URL=f"redis://{HERE}:{self.links['worker'].port}/0",
            VITALLY_BASE_URL=f"http://{HERE}:{self.vitally.port}",
            WORKER_PROCESSES=self.processes[place],
        )

    def new_web(self) -> Web:
        """Start one more web process."""
        url = f"redis://{HERE}:{self.links['web'].port}/0"
        web = self.stack.web(REDIS_URL=url)
        self.sender()
        return web

    def sender(self, secret: str = SECRET) -> Stripe:
        """A sender to the web processes that there are now."""
        self.stripe = Stripe([web.url for web in self.stack.webs], secret)
        return self.stripe

    def wrong(self, found: str) -> None:
        """Note a problem: `I7: …`."""
        self.say("problem", found=found)
        with self.lock:
            self.problems.append(found)

    def post(self, number: int, stripe: Stripe | None = None) -> None:
        """Deliver an event; without a 2xx it is delivered again later."""
        event = self.events[number]
        answer = self.ask(lambda: (stripe or self.stripe).post(event), event["id"])
        if answer is None or answer.status == 503:
            with self.lock:
                self.refused.append(number)
        elif answer.status == 202:
            with self.lock:
                self.taken[event["id"]] = event
        else:
            self.wrong(f"I1: {event['id']} was answered {answer.status}")

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

    def disturb(self) -> None:
        """Note that workers or their Redis have just been interfered with."""
        self.disturbed = time.monotonic()
