"""How the bridge talks to Redis: time-outs, pool, TLS, and sentinels."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPoolProxy,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from bridge.options import Sentinels, sentinels


def connect(url: str, *, verify_tls: bool, timeout: float, most: int) -> Redis:
    """Return a client with byte replies; nothing is sent yet.

    Waits *timeout* seconds for a connection, a reply or a free place among the
    *most* connections, and never tries again by itself: what to do about a failure
    is the caller's decision.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
    }
    scheme = urlsplit(url).scheme
    if scheme.startswith("rediss") and not verify_tls:
        options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    if scheme != "unix":
        options["socket_keepalive"] = True
    places = {"max_connections": most, "timeout": timeout}
    if scheme.endswith("+sentinel"):
        pool = _led(sentinels(url), options, places)
    else:
        pool = BlockingConnectionPool.from_url(url, **places, **options)
    return Redis(connection_pool=pool)


def aside(redis: Redis, *, timeout: float, most: int) -> Redis:
    """Return a client with connections of its own to where *redis* goes."""
    pool = redis.connection_pool
    patience = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    places = {"max_connections": most, "timeout": timeout}
    asked = pool.connection_kwargs | patience
    return Redis(connection_pool=_pool(pool.connection_class, places, asked))


def _led(
    where: Sentinels, options: dict[str, Any], places: dict[str, Any]
) -> BlockingConnectionPool:
    """Return a pool whose every new connection goes to the master of that moment.

    redis-py's own pool for sentinels does not wait for a free place, so that a burst
    would be refused. All sentinels together have the time of one connection.
    """
    share = places["timeout"] / len(where.hosts)
    patience = {"socket_timeout": share, "socket_connect_timeout": share}
    kind = SentinelManagedSSLConnection if where.tls else SentinelManagedConnection
    asked = Sentinel(  # type: ignore[no-untyped-call]
        where.hosts, sentinel_kwargs=options | patience | {"ssl": where.tls}
    )
    login = {"username": where.username, "password": where.password, "db": where.db}
    pool = _pool(kind, places, options | login)
    pool.connection_kwargs["connection_pool"] = SentinelConnectionPoolProxy(  # type: ignore[no-untyped-call]
        pool,
        is_master=True,
        check_connection=False,
        service_name=where.master,
        sentinel_manager=asked,
    )
    return pool


def _pool(
    kind: type[Any], places: dict[str, Any], options: dict[str, Any]
) -> BlockingConnectionPool:
    return BlockingConnectionPool(connection_class=kind, **places, **options)  # type: ignore[no-untyped-call]
