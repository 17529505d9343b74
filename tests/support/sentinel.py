"""Two real servers and three sentinels that watch over them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from bridge.redis_server import find_server
from tests.support.processes import Running, free_port
from tests.support.server import RedisServer
from tests.support.waiting import eventually

MASTER = "mymaster"
PASSWORD = "example-password"

CONFIGURATION = """\
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {master} 127.0.0.1 {master_port} 2
sentinel auth-pass {master} {password}
sentinel down-after-milliseconds {master} 1000
sentinel failover-timeout {master} 4000
"""


class Watched:
    """A master, its replica, and their sentinels; ended by pid on leaving."""

    def __init__(self, folder: Path) -> None:
        self._ending = ExitStack()
        self.first = self._server(folder / "first")
        self.second = self._server(folder / "second")
        self.client(self.second).replicaof("127.0.0.1", self.first.port)
        eventually(self._is_copied, what="the replica to have it all")
        self.ports = [self._sentinel(folder, number) for number in range(3)]
        eventually(self._know_all, 20, what="the sentinels to know one another")

    @property
    def url(self) -> str:
        """`redis+sentinel://` URL of database 0."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/{MASTER}/0"

    def client(self, server: RedisServer) -> Redis:
        """A client of one of the two servers itself."""
        client = Redis(port=server.port, password=PASSWORD)
        self._ending.callback(client.close)
        return client

    def wait(self) -> None:
        """Wait until the replica has all that the master has."""
        assert 1 == self.client(self.first).wait(1, 5000)

    def _server(self, folder: Path) -> RedisServer:
        server = RedisServer(folder)
        self._ending.callback(server.stop)
        server.config(masterauth=PASSWORD, requirepass=PASSWORD)
        return server

    def _sentinel(self, folder: Path, number: int) -> int:
        port = free_port()
        path = folder / f"sentinel-{number}.conf"
        said = {"port": port, "folder": folder, "master": MASTER, "password": PASSWORD}
        path.write_text(
            CONFIGURATION.format(**said, master_port=self.first.port), encoding="utf-8"
        )
        command = [str(find_server()), str(path), "--sentinel"]
        running = Running(
            command,
            environ={"LC_ALL": "C"},
            folder=folder,
            name=f"sentinel-{number}",
        )
        self._ending.callback(running.kill)
        return port

    def _is_copied(self) -> bool:
        return (
            self.client(self.second).info("replication")["master_link_status"] == "up"
        )

    def _know_all(self) -> bool:
        try:
            for port in self.ports:
                with Redis(port=port) as sentinel:
                    known = sentinel.sentinel_masters()[MASTER]
                    seen = (known["num-other-sentinels"], known["num-slaves"])
                    assert (2, 1) == seen
                    assert not known["is_sdown"]
        except RedisError as not_yet:
            raise AssertionError from not_yet
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.close()
