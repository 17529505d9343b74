"""Where Redis is: what `REDIS_URL` may say, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest
from redis import SSLConnection
from redis.sentinel import (
    Sentinel,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from bridge.options import Sentinels, redis_url, sentinels
from bridge.store.connect import aside, connect


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (
            "redis+sentinel://:p%40ss@one:26379,two:26380/mymaster/3",
            Sentinels(
                (("one", 26379), ("two", 26380)), "mymaster", 3, None, "p@ss", False
            ),
        ),
        (
            "redis+sentinel://one/my-master.eu",
            Sentinels((("one", 26379),), "my-master.eu", 0, None, None, False),
        ),
        (
            "rediss+sentinel://user:secret@[::1]:1,10.0.0.2/m",
            Sentinels(
                (("::1", 1), ("10.0.0.2", 26379)), "m", 0, "user", "secret", True
            ),
        ),
    ],
)
def test_a_url_names_the_sentinels_and_their_master(url: str, found: Sentinels) -> None:
    assert url == redis_url(url)
    assert found == sentinels(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://one",
        "redis+sentinel://one/",
        "redis+sentinel:///mymaster",
        "redis+sentinel://one,/mymaster",
        "redis+sentinel://one:70000/mymaster",
        "redis+sentinel://one/mymaster/x",
        "redis+sentinel://one/mymaster/0?timeout=1",
        "redis+sentinel://user@one/mymaster",
        "redis+sentinel://:@one/mymaster",
        "http+sentinel://one/mymaster",
        "sentinel://one/mymaster",
        "http://one",
    ],
)
def test_another_url_is_a_mistake(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|Port out of range"):
        redis_url(url)


def made(url: str, **more: Any) -> tuple[Any, list[Any]]:
    """The pool, and the pools of the sentinels that it asks."""
    options = {"verify_tls": True, "timeout": 0.6, "most": 2} | more
    pool = connect(url, **options).connection_pool
    asked: Sentinel = pool.connection_kwargs["connection_pool"].sentinel_manager
    return pool, [one.connection_pool for one in asked.sentinels]


def test_sentinels_are_asked_without_the_password_of_redis() -> None:
    pool, asked = made("redis+sentinel://user:secret@one,two,three/mymaster/3")

    assert SentinelManagedConnection is pool.connection_class
    assert ("user", "secret", 3) == tuple(
        pool.connection_kwargs[name] for name in ("username", "password", "db")
    )
    for one in asked:
        assert one.connection_kwargs["password"] is None


def test_all_sentinels_together_have_the_time_of_one_connection() -> None:
    _, asked = made("redis+sentinel://one,two,three/mymaster")

    assert [pytest.approx(0.2)] * 3 == [
        one.connection_kwargs["socket_connect_timeout"] for one in asked
    ]


@pytest.mark.parametrize(("verify", "wanted"), [(True, "required"), (False, "none")])
def test_tls_is_for_redis_and_its_sentinels_alike(verify: bool, wanted: str) -> None:
    pool, asked = made("rediss+sentinel://one,two/mymaster", verify_tls=verify)
    kinds = {one.connection_class for one in asked}

    assert (SentinelManagedSSLConnection, {SSLConnection}) == (
        pool.connection_class,
        kinds,
    )
    for one in (pool, *asked):
        said = one.connection_kwargs.get("ssl_cert_reqs", "required")
        assert wanted == said


def test_connections_aside_go_the_same_way_and_are_others() -> None:
    client = connect(
        "redis+sentinel://one/mymaster", verify_tls=True, timeout=0.6, most=2
    )
    other = aside(client, timeout=0.1, most=1)

    pool, own = client.connection_pool, other.connection_pool
    assert pool is not own
    assert pool.connection_class is own.connection_class
    assert (0.1, 0.6) == (
        own.connection_kwargs["socket_timeout"],
        pool.connection_kwargs["socket_timeout"],
    )
    master = pool.connection_kwargs["connection_pool"]
    assert master is own.connection_kwargs["connection_pool"]
