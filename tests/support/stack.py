"""A whole bridge in a test: Redis, the simulator, and the Procfile's own lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from redis import Redis
from urllib3 import BaseHTTPResponse, HTTPConnectionPool
from urllib3.exceptions import HTTPError

from bridge.store.connect import connect
from bridge.store.inspect import Figures, figures
from bridge.webhook.auth import STRIPE, sign
from tests.support.processes import Running, end_all, free_port, start
from tests.support.server import RedisServer
from tests.support.stripe import SECRET, Stripe
from tests.support.vitally import Simulator
from tests.support.waiting import PATIENCE, eventually

HERE = "127.0.0.1"
KEY = "sk_test_example"


def _empty(url: str) -> Redis:
    """A client of *url*; AssertionError where there is anything to lose."""
    client = connect(url, verify_tls=False, timeout=5, most=4)
    assert client.dbsize() == 0, "REDIS_URL names a database that is not empty"
    return client


class Web:
    """One web process and its port."""

    def __init__(self, running: Running, port: int) -> None:
        self.running = running
        self.port = port
        self.url = f"http://{HERE}:{port}"

    def ask(self, method: str, path: str, **more: Any) -> BaseHTTPResponse:
        """Ask it; raises urllib3's HTTPError where nobody answers."""
        with HTTPConnectionPool(HERE, self.port, retries=False, timeout=5) as pool:
            return pool.request(method, path, **more)

    def get(self, path: str) -> tuple[int, str]:
        """Ask it; status and body, (0, '') where nobody answers."""
        try:
            reply = self.ask("GET", path)
        except HTTPError:
            return 0, ""
        return reply.status, reply.data.decode()

    def deliver(self, body: bytes = b"not an event") -> tuple[int, float]:
        """Post what is signed as Stripe's; status (0: no answer) and seconds."""
        headers = sign(STRIPE, SECRET, body, time.time())
        begun = time.monotonic()
        try:
            status = self.ask(
                "POST", "/webhooks/stripe", body=body, headers=headers
            ).status
        except HTTPError:
            status = 0
        return status, time.monotonic() - begun

    def is_alive(self) -> bool:
        """Whether it answers."""
        return self.get("/healthz")[0] == 200

    def takes(self) -> bool:
        """Whether it takes a delivery."""
        return self.deliver()[0] == 202

    @property
    def child(self) -> int:
        """Process id of the one process under it."""
        pid = self.running.pid
        path = Path(f"/proc/{pid}/task/{pid}/children")
        children = path.read_text(encoding="ascii").split()
        assert 1 == len(children)
        return int(children[0])


class Stack:
    """Everything for one test or module; what it has started ends with it, by pid.

    The rate limit of its Vitally is high, so that no test waits for it. A *redis_url*
    is used in place of a server of its own; its database must be empty. *program* is
    the server that is started, None the one of the lock.
    """

    def __init__(
        self,
        folder: Path,
        *,
        redis_url: str | None = None,
        program: Path | None = None,
        **environ: object,
    ) -> None:
        self.folder = folder
        self._ending = ExitStack()
        if redis_url:
            self.redis_url, self.redis = redis_url, _empty(redis_url)
            self._ending.callback(self.redis.flushdb)
        else:
            self.redis_server = RedisServer(folder / "redis", program=program)
            self._ending.callback(self.redis_server.stop)
            self.redis_url = self.redis_server.url
            self.redis = self.redis_server.client()
        self.vitally = Simulator((KEY,), rate_limit=1_000_000)
        self._ending.enter_context(self.vitally)
        self._ending.callback(self.redis.close)
        self.webs: list[Web] = []
        self.workers: list[Running] = []
        self.environ = {
            "REDIS_URL": self.redis_url,
            "VITALLY_API_KEY": KEY,
            "VITALLY_BASE_URL": self.vitally.url,
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_MODE": "test",
            **environ,
        }

    def web(self, **environ: object) -> Web:
        """Start one more web process; it lives when this returns."""
        port = free_port()
        running = self.start("web", {**self.environ, **environ, "PORT": port})
        web = Web(running, port)
        self.webs.append(web)
        eventually(web.is_alive, what="a web process")
        return web

    def worker(self, **environ: object) -> Running:
        """Start one more line `worker`."""
        running = self.start("worker", {**self.environ, **environ})
        self.workers.append(running)
        return running

    def start(self, process_type: str, environ: Mapping[str, object]) -> Running:
        """Start a line of the Procfile."""
        return start(process_type, environ, self.folder)

    def ready(self) -> Self:
        """Wait until every web process says that the bridge is ready."""
        for web in self.webs:
            eventually(lambda w=web: w.get("/readyz")[0] == 200, what="readiness")
        return self

    def stripe(self) -> Stripe:
        """A sender that posts to the web processes in turn."""
        return Stripe(web.url for web in self.webs)

    def figures(self) -> Figures:
        """The figures of this moment."""
        return figures(self.redis)

    def settled(self, within: float = PATIENCE) -> Figures:
        """Wait until nothing is pending or dirty; the figures then."""

        def quiet() -> Figures | None:
            seen = self.figures()
            return None if seen.pending or seen.dirty else seen

        return eventually(quiet, within, what="the end of all work")

    def account(self, id_: str) -> dict[str, Any]:
        """The account in Vitally; AssertionError where there is none."""
        found = self.vitally.account(id_)
        assert found is not None, f"no account {id_}"
        return found

    def has(self, id_: str, **traits: Any) -> Callable[[], bool]:
        """A check whether an account has these traits (None: not there)."""

        def check() -> bool:
            found = self.account(id_)["traits"]
            assert traits == {name: found.get(name) for name in traits}
            return True

        return check

    def creations(self) -> list[str]:
        """External ids of all accounts that were created, in order."""
        return [
            entry["body"]["externalId"]
            for entry in self.vitally.writes()
            if entry["method"] == "POST" and entry["committed"] is not None
        ]

    def overlaps(self) -> list[dict[str, Any]]:
        """Writes that began while another one of the same account was in flight."""
        return [entry for entry in self.vitally.writes() if entry["overlap"]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            end_all([*self.workers, *(web.running for web in self.webs)])
        finally:
            self._ending.close()
