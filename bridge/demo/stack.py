"""Everything the demo needs, started on this machine and ended by its process ids."""

from __future__ import annotations

import json
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
from typing import Any

from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from bridge import redis_server
from bridge.demo.post import ACCOUNT_KEY
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
POLL_SECONDS = 0.1
LAST_LINES = 5


class DemoError(BridgeError):
    """Something that the demo has started does not work."""


class EndedError(BridgeError):
    """The user has ended the demo."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process of the demo; its pid names its group, its log is a file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise DemoError where it has ended."""
        status = self.process.poll()
        if status is not None:
            said = f"the {self.name} process has ended with status {status}"
            raise DemoError(f"{said}: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace").strip()
        return "\n  ".join(["", *text.splitlines()[-LAST_LINES:]]) or "it said nothing"


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs: where it is, and the example secrets of this one run."""

    folder: Path
    redis_url: str
    vitally: Simulator
    port: int
    webhook_secret: str
    password: str
    children: tuple[Child, ...]

    @property
    def web_url(self) -> str:
        """Base URL of the web process."""
        return f"http://{HERE}:{self.port}"

    def check(self) -> None:
        """Raise DemoError where a process has ended."""
        for child in self.children:
            child.check()


@contextmanager
def running(folder: Path, stop: Event) -> Iterator[Stack]:
    """Start everything in *folder*, wait until it is ready, and end it in the end.

    Raises DemoError, EndedError (*stop* was set), BridgeError.
    """
    with ExitStack() as ending:
        server = redis_server.start(folder / "redis")
        ending.callback(server.stop)
        key = f"sk_test_example_{secrets.token_hex(8)}"
        vitally = ending.enter_context(Simulator((key,)))
        secret = f"whsec_example_{secrets.token_hex(16)}"
        password = f"example-{secrets.token_hex(4)}"
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
        children: list[Child] = []
        ending.callback(_end, children)
        environ = environment(os.environ, values)
        # One by one: where the second does not start, the first is in the list.
        children.extend(_start(name, folder, environ) for name in LINES)
        stack = Stack(
            folder, server.url, vitally, port, secret, password, tuple(children)
        )
        _wait_until_ready(stack, stop)
        yield stack


def environment(
    user: Mapping[str, str], values: Mapping[str, str], home: Path = HOME
) -> dict[str, str]:
    """Return the environment of a process: *values*, and nothing the *user* has set."""
    kept = {name: user[name] for name in KEPT if name in user}
    return {**kept, "PYTHONPATH": str(home), "PYTHONUNBUFFERED": "1", **values}


def _start(name: str, folder: Path, environ: Mapping[str, str]) -> Child:
    """Start one line in a group of its own, so that Ctrl-C reaches the demo alone."""
    path = folder / f"{name}.log"
    with path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *LINES[name]],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )
    return Child(name, process, path)


def _end(children: list[Child]) -> None:
    """Ask all to end, then wait for each; what stays is killed with its group."""
    for child in children:
        if child.process.poll() is None:
            child.process.terminate()
    until = time.monotonic() + STOP_SECONDS
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, until - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()


def _wait_until_ready(stack: Stack, stop: Event) -> None:
    pool = HTTPConnectionPool(HERE, stack.port, timeout=Timeout(2), retries=False)
    until = time.monotonic() + START_SECONDS
    reasons: list[str] = []
    with pool:
        while time.monotonic() < until:
            stack.check()
            ready, reasons = _ready(pool)
            if ready:
                return
            if stop.wait(POLL_SECONDS):
                raise EndedError("ended while it was starting")
    said = [f"not ready after {START_SECONDS:g} s", *reasons]
    said += [f"{child.name}: {child.last_words()}" for child in stack.children]
    raise DemoError("\n".join(said))


def _ready(pool: HTTPConnectionPool) -> tuple[bool, list[str]]:
    """What `/readyz` says: is it ready, and if not, why."""
    try:
        reply = pool.request("GET", "/readyz")
        said: Any = json.loads(reply.data)
    except (HTTPError, ValueError):
        return False, ["the web process does not answer"]
    return bool(said.get("ready")), list(said.get("reasons", []))
