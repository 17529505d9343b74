"""Starts and stops what the demo needs: Redis, the Vitally simulator, web and worker."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from bridge import redis_server
from bridge.demo.lives import ACCOUNT_KEY
from bridge.errors import BridgeError
from bridge.vitally.simulator import Simulator

HERE = "127.0.0.1"
HOME = Path(__file__).resolve().parents[2]
"""Folder of the two packages: the repository, or where pip has put them."""

KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
"""All that a process of the demo gets of the user's environment."""

LOG = "bridge.log"
LAST_LINES = 5

START_SECONDS = 30.0
STOP_SECONDS = 20.0


class DemoError(BridgeError):
    """A part that the demo started does not work."""


class EndedError(BridgeError):
    """The user has ended the demo."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs: addresses, and the example secrets of this run.

    *web* are connections to the bridge's web process, *process* runs the whole bridge;
    *stop* is set when the user wants it to end.
    """

    folder: Path
    redis_url: str
    vitally: Simulator
    web: HTTPConnectionPool
    webhook_secret: str
    password: str
    process: subprocess.Popen[bytes]
    stop: Event

    def pause(self, seconds: float) -> None:
        """Wait. Raises EndedError, and DemoError where the bridge has ended."""
        if self.stop.wait(seconds):
            raise EndedError("ended by the user")
        if (status := self.process.poll()) is not None:
            raise DemoError(f"the bridge has ended with status {status}: {self.log()}")

    def log(self) -> str:
        """The last lines of the bridge's log."""
        text = (self.folder / LOG).read_text(encoding="utf-8", errors="replace")
        return "\n  ".join(["", *text.strip().splitlines()[-LAST_LINES:]])

    def wait_until_ready(self) -> None:
        """Ask `/readyz` until it says so. Raises DemoError, EndedError."""
        until = time.monotonic() + START_SECONDS
        reasons: list[str] = []
        while time.monotonic() < until:
            self.pause(0.1)
            try:
                answer = self.web.request("GET", "/readyz").json()
            except (HTTPError, ValueError):
                answer = {"reasons": ["the web process does not answer"]}
            if answer.get("ready"):
                return
            reasons = answer.get("reasons", [])
        why = "\n".join([f"not ready after {START_SECONDS:g} s", *reasons])
        raise DemoError(f"{why}\n{self.log()}")


@contextmanager
def running(folder: Path, stop: Event) -> Iterator[Stack]:
    """Start everything in *folder*, wait until it is ready, and end it in the end.

    Raises DemoError, EndedError (*stop* was set), and BridgeError without a Redis.
    """
    key = f"sk_test_example_{secrets.token_hex(8)}"
    secret = f"whsec_example_{secrets.token_hex(16)}"
    password = f"example-{secrets.token_hex(4)}"
    with ExitStack() as ending:
        server = redis_server.start(folder / "redis")
        ending.callback(server.stop)
        vitally = ending.enter_context(Simulator((key,)))
        port = redis_server.free_port()
        values = {
            "REDIS_URL": server.url,
            "VITALLY_API_KEY": key,
            "VITALLY_BASE_URL": vitally.url,
            "STRIPE_WEBHOOK_SECRET": secret,
            "STRIPE_MODE": "test",
            "STRIPE_ACCOUNT_ID_KEY": ACCOUNT_KEY,
            "CONSOLE_PASSWORD": password,
            "PORT": str(port),
        }
        process = ending.enter_context(_bridge(folder, environment(os.environ, values)))
        web = HTTPConnectionPool(HERE, port, timeout=Timeout(10), retries=False)
        ending.callback(web.close)
        stack = Stack(folder, server.url, vitally, web, secret, password, process, stop)
        stack.wait_until_ready()
        yield stack


@contextmanager
def _bridge(
    folder: Path, environ: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the web and a worker process, and end them; what stays is killed.

    They are a group of their own, so that Ctrl-C reaches the demo alone.
    """
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "run"],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def environment(
    user: Mapping[str, str], values: Mapping[str, str], home: Path = HOME
) -> dict[str, str]:
    """Return the environment of a process: *values*, and nothing the *user* has set."""
    kept = {name: user[name] for name in KEPT if name in user}
    return {**kept, "PYTHONPATH": str(home), "PYTHONUNBUFFERED": "1", **values}
