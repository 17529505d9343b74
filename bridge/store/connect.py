"""How the bridge talks to Redis: time-outs, pool, TLS, and sentinels."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPoolProxy,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from bridge.addresses import Sentinels, sentinels


class Led(BlockingConnectionPool):
    """Connections to whichever server is the master, by the word of the sentinels.

    redis-py's own pool for them does not wait for a free place, so that a burst would
    be refused; and it asks them only for a new connection.
    """

    master: tuple[str, int] | None = None

    def follow(self) -> None:
        """Ask again; no connection to another server is used any more.

        One that is master no longer may not know it for ten seconds, and what it takes
        meanwhile is lost. Raises redis' own errors.
        """
        now = self.connection_kwargs["connection_pool"].get_master_address()
        if self.master not in {None, now}:
            self.update_active_connections_for_reconnect()
            self.disconnect(inuse_connections=False)
        self.master = now


def follow(redis: Redis) -> None:
    """Leave a server that is master no longer; without sentinels do nothing."""
    pool = redis.connection_pool
    if isinstance(pool, Led):
        with suppress(RedisError):
            pool.follow()


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
    pool: BlockingConnectionPool
    if scheme.endswith("+sentinel"):
        pool = _led(sentinels(url), options, places)
    else:
        pool = BlockingConnectionPool.from_url(url, **places, **options)
    return Redis(connection_pool=pool)


def aside(redis: Redis, *, timeout: float, most: int) -> Redis:
    """Return a client with connections of its own to where *redis* goes."""
    pool = redis.connection_pool
    patience = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    kind = Led if isinstance(pool, Led) else BlockingConnectionPool
    return Redis(
        connection_pool=kind(  # type: ignore[no-untyped-call]
            connection_class=pool.connection_class,
            max_connections=most,
            timeout=timeout,
            **pool.connection_kwargs | patience,
        )
    )


def _led(where: Sentinels, options: dict[str, Any], places: dict[str, Any]) -> Led:
    """Return a pool; all sentinels together have the time of one connection."""
    share = places["timeout"] / len(where.hosts)
    patience = {"socket_timeout": share, "socket_connect_timeout": share}
    kind = SentinelManagedSSLConnection if where.tls else SentinelManagedConnection
    asked = Sentinel(  # type: ignore[no-untyped-call]
        where.hosts, sentinel_kwargs=options | patience | {"ssl": where.tls}
    )
    login = {"username": where.username, "password": where.password, "db": where.db}
    pool = Led(connection_class=kind, **places, **options, **login)  # type: ignore[no-untyped-call]
    pool.connection_kwargs["connection_pool"] = SentinelConnectionPoolProxy(  # type: ignore[no-untyped-call]
        pool,
        is_master=True,
        check_connection=False,
        service_name=where.master,
        sentinel_manager=asked,
    )
    return pool
