"""How the bridge talks to Redis: time-outs, pool and TLS."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry


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
    if scheme == "rediss" and not verify_tls:
        options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    if scheme != "unix":
        options["socket_keepalive"] = True
    places = {"max_connections": most, "timeout": timeout}
    pool = BlockingConnectionPool.from_url(url, **places, **options)
    return Redis(connection_pool=pool)


def aside(redis: Redis, *, timeout: float, most: int) -> Redis:
    """Return a client with connections of its own to where *redis* goes."""
    pool = redis.connection_pool
    patience = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    return Redis(
        connection_pool=BlockingConnectionPool(  # type: ignore[no-untyped-call]
            connection_class=pool.connection_class,
            max_connections=most,
            timeout=timeout,
            **pool.connection_kwargs | patience,
        )
    )
