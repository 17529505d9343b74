"""The fault proxy of the chaos suite does to a connection what it is told, exactly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bridge.store.connect import connect
from tests.support import proxy as proxies
from tests.support.proxy import Act, Proxy, http, resp
from tests.support.server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.alone


@pytest.fixture
def proxy(redis: Redis, redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.port, resp) as made:
        yield made


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Redis]:
    url = f"redis://127.0.0.1:{proxy.port}/0"
    with connect(url, verify_tls=True, timeout=0.6, most=4) as made:
        made.ping()
        yield made
        made.connection_pool.disconnect()


def test_without_a_rule_everything_passes(client: Redis, redis: Redis) -> None:
    with client.pipeline(transaction=True) as pipe:
        pipe.set("a", "x" * 200_000).get("a")
        done = pipe.execute()

    assert [True, b"x" * 200_000] == done
    assert b"x" * 200_000 == redis.get("a")


def test_a_request_is_held_until_the_release(
    proxy: Proxy, client: Redis, redis: Redis
) -> None:
    rule = proxy.on(rb"SET.*held", proxies.HOLD_REQUEST)
    with pytest.raises(RedisTimeoutError):
        client.set("held", 1)

    assert rule.caught.is_set()
    assert client.set("other", 1)
    rule.release()
    assert redis.get("held") is None, "its client had gone"
    assert client.set("held", 2)


def test_what_is_released_meets_the_rules_behind(
    proxy: Proxy, client: Redis, redis: Redis
) -> None:
    gate = proxy.on(b"INCR", proxies.HOLD_REQUEST, times=None)
    behind = proxy.on(b"INCR", proxies.LOSE_REPLY)
    threading.Timer(0.1, gate.release).start()
    with pytest.raises(RedisConnectionError):
        client.incr("n")

    assert behind.caught.is_set()
    assert b"1" == redis.get("n")


def test_a_late_request_arrives_although_its_client_has_gone(
    proxy: Proxy, client: Redis, redis: Redis
) -> None:
    rule = proxy.on(b"late", proxies.HOLD_LATE)
    with pytest.raises(RedisTimeoutError):
        client.set("late", 1)

    assert redis.get("late") is None
    rule.release()
    eventually(lambda: redis.get("late") == b"1")


def test_a_delayed_request_is_done_later(proxy: Proxy, client: Redis) -> None:
    rule = proxy.on(b"PING", proxies.delay(0.2), times=2)
    begun = time.monotonic()
    client.ping()
    client.ping()

    assert time.monotonic() - begun >= 0.4
    assert not rule.catches(b"PING")


@pytest.mark.parametrize(
    ("act", "error", "left"),
    [
        (proxies.HOLD_REPLY, RedisTimeoutError, b"2"),
        (proxies.LOSE_REPLY, RedisConnectionError, b"2"),
        (proxies.HOLD_REQUEST, RedisTimeoutError, b"1"),
        (proxies.LOSE_REQUEST, RedisConnectionError, b"1"),
        (proxies.cut(0), RedisConnectionError, b"1"),
        (proxies.cut(10), RedisConnectionError, b"1"),
    ],
)
def test_of_what_is_lost_or_held_a_reply_is_done_and_a_request_is_not(
    proxy: Proxy, client: Redis, redis: Redis, act: Act, error: type, left: bytes
) -> None:
    """The second request is caught; the third passes."""
    rule = proxy.on(b"INCR", act, skip=1)
    client.incr("n")
    with pytest.raises(error):
        client.incr("n")

    assert rule.caught.is_set()
    assert left == redis.get("n")
    assert int(left) + 1 == client.incr("n")


def test_a_transaction_is_one_message(
    proxy: Proxy, client: Redis, redis: Redis
) -> None:
    """Whatever of it the pattern names, all of it is done or nothing."""
    for act, left in ((proxies.LOSE_REPLY, b"1"), (proxies.LOSE_REQUEST, b"1")):
        proxy.on(b"first", act)
        pipe = client.pipeline(transaction=True)
        pipe.incr("first")
        pipe.incr("second")
        with pytest.raises(RedisConnectionError):
            pipe.execute()
        pipe.reset()

        assert [left, left] == redis.mget("first", "second")


def test_a_truncated_reply_ends_the_connection_a_shorter_one_passes(
    proxy: Proxy, client: Redis
) -> None:
    client.set("long", "x" * 50)
    proxy.on(b"GET", proxies.truncate(20))
    proxy.on(b"PING", proxies.truncate(1000))
    with pytest.raises(RedisConnectionError):
        client.get("long")

    assert [b"x" * 50, True, True] == [client.get("long"), client.ping(), client.ping()]


def test_a_proxy_that_refuses_listens_again_on_its_port(
    proxy: Proxy, client: Redis
) -> None:
    port = proxy.port
    proxy.refuse()
    with pytest.raises(RedisError):
        client.ping()
    with pytest.raises(RedisConnectionError):
        client.ping()
    proxy.accept()

    assert client.ping()
    assert port == proxy.port


def test_a_stalled_proxy_keeps_its_connections(proxy: Proxy, client: Redis) -> None:
    proxy.stall()
    with pytest.raises(RedisTimeoutError):
        client.ping()
    proxy.flow()

    assert client.ping()


def test_connections_that_are_reset_are_made_anew(proxy: Proxy, client: Redis) -> None:
    proxy.reset()
    eventually(lambda: not proxy._links)

    assert client.ping()


def test_mending_takes_all_away(proxy: Proxy, client: Redis) -> None:
    proxy.on(b"PING", proxies.LOSE_REPLY, times=None)
    proxy.stall()
    proxy.refuse()
    eventually(lambda: proxy.is_empty)
    proxy.mend()

    assert [True] * 3 == [client.ping() for _ in range(3)]


@pytest.mark.parametrize(
    ("split", "content", "length"),
    [
        (resp, b"*1\r\n$4\r\nPING\r\n", 14),
        (resp, b"*1\r\n$4\r\nPING\r\n*1\r\n", 14),
        (resp, b"*1\r\n$4\r\nPIN", 0),
        (resp, b"*2\r\n$4\r\nPING\r\n", 0),
        (resp, b"", 0),
        (http, b"PUT /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET", 40),
        (http, b"PUT /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{", 0),
        (http, b"GET /a HTTP/1.1\r\n\r\n", 19),
        (http, b"GET /a HTTP/1.1\r\n", 0),
    ],
)
def test_a_whole_message_is_known(split: proxies.Split, content, length) -> None:
    assert length == split(content)
