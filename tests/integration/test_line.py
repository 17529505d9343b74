"""The accept script's own connections: few, replaced when they die, never confused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from bridge.store.connect import connect
from bridge.store.line import Line
from tests.support.server import RedisServer
from tests.support.waiting import eventually

ECHO = "return ARGV[1]"
FAIL = "return redis.error_reply('WRONG ' .. ARGV[1])"
SLOW = "local n = 0; while n < 2e7 do n = n + 1 end; return ARGV[1]"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


def few(server: RedisServer, most: int = 2) -> Redis:
    return connect(server.url, verify_tls=True, timeout=2, most=most)


def test_a_reply_goes_to_the_one_who_asked(server: RedisServer) -> None:
    line = Line(few(server), ECHO)
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda n: line([n]), range(500)))

    assert [b"%d" % n for n in range(500)] == replies


def test_there_are_no_more_connections_than_places(server: RedisServer) -> None:
    line = Line(few(server), ECHO)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: line([n]), range(200)))

    with server.client() as client:
        assert len(client.client_list()) <= 3


def test_a_connection_that_died_is_replaced_without_an_error(
    server: RedisServer,
) -> None:
    line = Line(few(server), ECHO)
    line(["before"])
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)

    assert b"after" == line(["after"])


def test_a_script_that_redis_forgot_is_sent_again(server: RedisServer) -> None:
    line = Line(few(server), ECHO)
    line(["before"])
    with server.client() as client:
        client.script_flush()

    assert b"after" == line(["after"])


def test_a_refusal_is_raised_and_the_connection_is_kept(server: RedisServer) -> None:
    line = Line(few(server, most=1), FAIL)
    for _ in range(3):
        with pytest.raises(ResponseError, match="WRONG 7"):
            line([7])


def test_a_server_that_is_down_is_an_error_and_soon_over(server: RedisServer) -> None:
    line = Line(few(server), ECHO)
    line(["before"])
    server.kill()

    with pytest.raises(RedisError):
        line(["while it is down"])
    server.restart()

    assert b"after" == eventually(lambda: line(["after"]))


def test_whoever_finds_no_place_waits_no_longer_than_the_time_out(
    server: RedisServer,
) -> None:
    client = connect(server.url, verify_tls=True, timeout=0.2, most=1)
    line = Line(client, SLOW)
    began = monotonic()
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(line, [n]) for n in range(4)]
        errors = [one.exception() for one in found]

    assert any(isinstance(one, RedisConnectionError) for one in errors)
    assert monotonic() - began < 5
