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

from bridge.addresses import Sentinels, redis_url, sentinels
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
        "redis+sentinel://one:0/mymaster",
        "redis+sentinel://[:::::]/mymaster",
        "http://one",
        "redis://:se/cret@one",
        "redis://:se#cret@one:6379/0",
        "redis://:se?cret@one:6379/0",
        "redis://:123?secret@one",
        "redis://:123/4secret@one",
        "redis://:se[cret@one",
        "redis://:se cret@one",
        "redis://:secret@[::1",
        "redis://:secret@[:::::]:6379",
        "redis://:secret@[fe80::secret]",
        "redis://:secret@one:0",
        "redis://:secret@one:65536",
        "redis://:secret@one:secret",
        "redis://:secret@one:6379/secret",
        "redis://:secret@one#secret",
        "redis://:se\u2100cret@one",
        "redis://one?secret",
        "redis://one?secret=1",
        "redis://one?db=secret",
        "redis://one?socket_timeout=60",
        "redis://one?max_connections=secret",
        "redis://one?ssl_cert_reqs=none",
        "rediss://one?ssl_cert_reqs=secret",
        "rediss://one?ssl_min_version=secret",
        "unix://secret",
        "unix:///path#secret",
        "unix:///path?secret=1",
        "unix://:se#cret@/path",
    ],
)
def test_another_url_is_a_mistake_that_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"must ") as refused:
        redis_url(url)

    assert str(refused.value).startswith("must ")
    assert "secret" not in str(refused.value)
    assert "cret@" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("redis://", {}),
        ("redis:///1", {"db": 1}),
        ("redis://one", {"host": "one"}),
        ("redis://my_redis:6380/", {"host": "my_redis", "port": 6380}),
        ("redis://:p@ss:w@one/2", {"password": "p@ss:w", "db": 2}),
        ("redis://u:%2F%23%3F%5B@one", {"username": "u", "password": "/#?["}),
        ("redis://:käse@one", {"password": "käse"}),
        ("redis://[::1]:1/3?protocol=3&client_name=a", {"host": "::1", "port": 1}),
        ("rediss://one?ssl_cert_reqs=none&db=4", {"db": 4}),
        ("rediss://one?ssl_ca_certs=/etc/ca.pem", {"host": "one"}),
        ("unix:///run/redis.sock", {"path": "/run/redis.sock"}),
        ("unix:///run/redis.sock?db=5&password=a", {"db": 5, "password": "a"}),
        ("unix://u:p@/run/redis.sock", {"username": "u", "password": "p"}),
    ],
)
def test_what_is_taken_makes_a_connection(url: str, known: dict[str, Any]) -> None:
    pool = connect(redis_url(url), verify_tls=True, timeout=0.5, most=2).connection_pool
    pool.make_connection()

    assert known == {name: pool.connection_kwargs.get(name) for name in known}
    assert 0.5 == pool.connection_kwargs["socket_timeout"]


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
