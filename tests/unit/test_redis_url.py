"""Where Redis is: what `REDIS_URL` may say, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.settings import redis_url
from bridge.store.connect import connect, own_client


@pytest.mark.parametrize(
    "url",
    [
        "http://one",
        "redis+sentinel://one/mymaster",
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
        "redis://one?db=1&secret=1",
        "redis://one?db=1db=2",
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


def test_connections_aside_go_the_same_way_and_are_others() -> None:
    client = connect("redis://one/3", verify_tls=True, timeout=0.6, most=2)
    pools = [
        client.connection_pool,
        own_client(client, timeout=0.1, most=1).connection_pool,
    ]

    assert pools[0] is not pools[1]
    assert [("one", 3, 0.6), ("one", 3, 0.1)] == [
        tuple(pool.connection_kwargs[name] for name in ("host", "db", "socket_timeout"))
        for pool in pools
    ]
