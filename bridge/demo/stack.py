"""Everything the demo needs, started on this machine and ended by its process ids."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from bridge import redis_server
from bridge.demo.lives import ACCOUNT_KEY
from bridge.errors import BridgeError
from bridge.vitally.simulator import Simulator

LINES = {"web": ("-m", "bridge", "serve"), "worker": ("-m", "workers")}
"""The Procfile's lines, run by the Python that runs the demo."""

HERE = "127.0.0.1"
HOME = Path(__file__).resolve().parents[2]
"""Folder of the two packages: the repository, or where pip has put them."""

KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
"""All that a process of the demo gets of the user's environment."""

START_SECONDS = 30.0
STOP_SECONDS = 20.0
LAST_LINES = 5


class DemoError(BridgeError):
    """Something that the demo has started does not work."""


class EndedError(BridgeError):
    """The user has ended the demo."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs: where it is, and the example secrets of this one run.

    *stop* is set when the user wants it to end. A process leads a group of its own, so
    that Ctrl-C reaches the demo alone; its log is a file in *folder*.
    """

    folder: Path
    stop: Event
    redis_url: str
    vitally: Simulator
    web: HTTPConnectionPool
    webhook_secret: str
    password: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def pause(self, seconds: float) -> None:
        """Wait. Raises EndedError, and DemoError where a process has ended."""
        if self.stop.wait(seconds):
            raise EndedError("ended by the user")
        for name, process in self.processes.items():
            if (status := process.poll()) is not None:
                words = f"the {name} process has ended with status {status}"
                raise DemoError(f"{words}: {self.last_words(name)}")

    def last_words(self, name: str) -> str:
        """The end of a process's log."""
        log = self.folder / f"{name}.log"
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n  ".join(["", *lines[-LAST_LINES:]]) or "it said nothing"

    def start(self, name: str, environ: Mapping[str, str]) -> None:
        """Start one of the lines."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *LINES[name]],
                cwd=self.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

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
        logs = [f"{name}: {self.last_words(name)}" for name in self.processes]
        why = [f"not ready after {START_SECONDS:g} s", *reasons, *logs]
        raise DemoError("\n".join(why))

    def end(self) -> None:
        """Ask all to end, then wait for each; what stays is killed with its group."""
        for process in self.processes.values():
            process.terminate()
        until = time.monotonic() + STOP_SECONDS
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def running(folder: Path, stop: Event) -> Iterator[Stack]:
    """Start everything in *folder*, wait until it is ready, and end it in the end.

    Raises DemoError, EndedError (*stop* was set), and BridgeError without a Redis.
    """
    key = f"sk_test_example_{secrets.token_hex(8)}"
    with ExitStack() as ending:
        server = redis_server.start(folder / "redis")
        ending.callback(server.stop)
        port = redis_server.free_port()
        stack = Stack(
            folder,
            stop,
            server.url,
            ending.enter_context(Simulator((key,))),
            HTTPConnectionPool(HERE, port, timeout=Timeout(10), retries=False),
            webhook_secret=f"whsec_example_{secrets.token_hex(16)}",
            password=f"example-{secrets.token_hex(4)}",
        )
        values = {
            "REDIS_URL": stack.redis_url,
            "VITALLY_API_KEY": key,
            "VITALLY_BASE_URL": stack.vitally.url,
            "STRIPE_WEBHOOK_SECRET": stack.webhook_secret,
            "STRIPE_MODE": "test",
            "STRIPE_ACCOUNT_ID_KEY": ACCOUNT_KEY,
            "CONSOLE_PASSWORD": stack.password,
            "PORT": str(port),
        }
        ending.callback(stack.end)
        ending.callback(stack.web.close)
        for name in LINES:
            stack.start(name, environment(os.environ, values))
        stack.wait_until_ready()
        yield stack


def environment(
    user: Mapping[str, str], values: Mapping[str, str], home: Path = HOME
) -> dict[str, str]:
    """Return the environment of a process: *values*, and nothing the *user* has set."""
    kept = {name: user[name] for name in KEPT if name in user}
    return {**kept, "PYTHONPATH": str(home), "PYTHONUNBUFFERED": "1", **values}
