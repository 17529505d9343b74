"""`alive`: the health check of a container ends one that is dead, and no other."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from redis import Redis

from bridge.store import keys
from bridge.store.connect import milliseconds
from tests.support.command import Run
from tests.support.processes import ROOT, free_port

HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("name", "silent_ms", "status"),
    [
        (f"{HERE}-12-0abc", 900, 0),
        (f"{HERE}-12-0abc", 16_000, 1),
        (f"{HERE}-2-12-0abc", 900, 1),
        ("another-12-0abc", 900, 1),
    ],
    ids=["heard", "silent", "a machine with a longer name", "another machine"],
)
def test_only_a_worker_of_this_machine_that_was_just_heard_lives(
    run: Run, redis: Redis, name: str, silent_ms: int, status: int
) -> None:
    redis.zadd(keys.WORKERS, {name: milliseconds(redis) - silent_ms})
    said = run("alive", "worker", status=status)

    assert (name in said.out) == (status == 0)
    assert ("was heard from for 15 seconds" in said.err) == (status == 1)


def test_a_worker_that_cannot_be_heard_is_not_ended_for_it(
    run: Run, redis: Redis
) -> None:
    """Redis is away, or takes no heartbeat."""
    away = run("alive", "worker", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    redis.replicaof("127.0.0.1", free_port())
    try:
        read_only = run("alive", "worker")
    finally:
        redis.replicaof("NO", "ONE")

    assert "Redis is down" in away.out
    assert "Redis is read-only" in read_only.out


@pytest.mark.parametrize(("times", "status"), [(1.05, 1), (0.5, 0)])
def test_a_redis_that_is_nearly_full_takes_heartbeats_and_a_full_one_none(
    run: Run, redis: Redis, times: float, status: int
) -> None:
    used = redis.info("memory")["used_memory"]
    redis.config_set("maxmemory", int(times * used))
    try:
        said = run("alive", "worker", status=status)
    finally:
        redis.config_set("maxmemory", 0)

    assert ("Redis is full" in said.out) == (status == 0)


@pytest.fixture(params=[200, 404])
def answered(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Something that answers `/healthz`, or nothing else; its port and status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(request.param if self.path == "/healthz" else 500)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, request.param
        server.shutdown()
        thread.join()


def test_what_answers_on_the_port_must_be_a_web_process(
    run: Run, answered: tuple[int, int]
) -> None:
    port, status = answered
    # A proxy for all else is not asked.
    proxy = {"http_proxy": f"http://127.0.0.1:{free_port()}"}

    run("alive", "web", status=0 if status == 200 else 1, PORT=port, **proxy)


def test_nothing_on_the_port_is_a_dead_web_process(run: Run) -> None:
    said = run("alive", "web", status=1, PORT=free_port())

    assert "the web process does not answer" in said.err


def test_what_else_is_wrong_with_the_settings_is_none_of_its_business(run: Run) -> None:
    """But for those that it reads, and without any it says what it needs."""
    run("alive", "worker", status=78, PORT="x")
    run("alive", "worker", status=1, BRIDGE_CONFIG="/nowhere", STRIPE_MODE="neither")


def test_it_begins_without_what_takes_long_to_import() -> None:
    """It is called every few seconds, where processor time is paid for."""
    begun = "import sys, bridge.cli.alive; print(*sys.modules)"
    line = [sys.executable, "-c", begun]
    loaded = subprocess.run(line, cwd=ROOT, capture_output=True, check=True).stdout

    heavy = {b"flask", b"granian", b"jmespath", b"marshmallow", b"rq", b"urllib3"}
    assert set() == heavy & set(loaded.split())
