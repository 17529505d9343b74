"""A real Redis server that a test may stop, kill, pause and start again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from redis import Redis

from bridge import redis_server


class RedisServer:
    """A server of its own port and folder; the port stays over a restart.

    Without a *folder* it has one of its own, which `stop` removes. *program* None is
    the server of the lock. As a context manager it is running inside and stopped after.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        extra: Sequence[str] = (),
        program: Path | None = None,
    ) -> None:
        self._owned = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="bridge-redis-"))
        self._extra = tuple(extra)
        self._program = program
        self._running = redis_server.start(
            self.folder, extra=self._extra, server=program
        )

    @property
    def url(self) -> str:
        """`redis://` URL of database 0."""
        return self._running.url

    @property
    def port(self) -> int:
        """Port on the loopback interface."""
        return self._running.port

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's process, a new one after each restart."""
        return self._running.process

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._running.process.pid

    def client(self) -> Redis:
        """A new client that answers with bytes; close it."""
        return Redis.from_url(self.url)

    def config(self, **values: str | float) -> None:
        """Set options at run time: `config(maxmemory_policy="allkeys-lru")`."""
        with self.client() as client:
            for name, value in values.items():
                client.config_set(name.replace("_", "-"), value)

    def configure(self, *extra: str) -> None:
        """Give it other arguments from its next start on."""
        self._extra = extra

    def pause(self) -> None:
        """Stall the server: connections stay open and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a stalled server go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once (-9), as a crash would; its folder stays."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it on the same port and data, after `kill` or from a running state."""
        self._halt()
        self._running = redis_server.start(
            self.folder, port=self.port, extra=self._extra, server=self._program
        )

    def stop(self) -> None:
        """End it for good, whatever state it is in."""
        self._halt()
        if self._owned:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _halt(self) -> None:
        if self.process.poll() is None:
            self.resume()
        self._running.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
