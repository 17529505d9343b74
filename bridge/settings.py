"""The environment as one frozen, typed object; every problem is named at once."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bridge.addresses import base_url, redis_url
from bridge.errors import ConfigError
from bridge.options import (
    Option,
    boolean,
    header_value,
    one_of,
    read_all,
    share,
    subdomain,
    text,
    unknown,
    whole,
)

OPTIONS = (
    Option("PORT", whole(0, 65535), 8000, "Port of the web process."),
    Option(
        "REDIS_URL",
        redis_url,
        None,
        "Where Redis is: `redis://`, `rediss://` or `unix://`.",
        required=True,
        secret=True,
    ),
    Option(
        "REDIS_TLS_VERIFY",
        boolean,
        True,
        "`false` for a self-signed `rediss://`, as on Heroku.",
    ),
    Option(
        "VITALLY_API_KEY",
        header_value,
        None,
        "REST key: the raw token or the ready `Basic …` header value.",
        required=True,
        secret=True,
    ),
    Option(
        "VITALLY_SUBDOMAIN",
        subdomain,
        None,
        "The name before `.vitally.io`; needed in the US region.",
    ),
    Option("VITALLY_REGION", one_of("us", "eu"), "us", "Data centre of the workspace."),
    Option(
        "VITALLY_BASE_URL",
        base_url,
        None,
        "Replaces host and scheme, e.g. `http://127.0.0.1:9000`.",
        shown="from region and subdomain",
    ),
    Option(
        "VITALLY_BUDGET_SHARE",
        share,
        0.8,
        "Part of Vitally's rate limit that the bridge may use.",
    ),
    Option(
        "BRIDGE_CONFIG",
        text,
        None,
        "Path of the optional `bridge.toml` (trait names, money).",
        shown="`bridge.toml` if it exists",
    ),
    Option(
        "BRIDGE_PUBLIC_URL",
        base_url,
        None,
        "The address that senders call; unset: the `Host` they name, with the scheme "
        "in their router's `X-Forwarded-Proto`.",
    ),
    Option(
        "BRIDGE_CREATE",
        one_of("customer", "subscription", "never"),
        "customer",
        "When an account that Vitally does not have is created: with any event of "
        "the customer, once a subscription is known, or never (held).",
    ),
    Option(
        "BRIDGE_DRY_RUN", boolean, False, "`true`: everything but the write to Vitally."
    ),
    Option(
        "BRIDGE_ALLOW_EVICTION",
        boolean,
        False,
        "`true`: run on a Redis that may evict keys (and so lose accounts).",
    ),
    Option(
        "BRIDGE_REDIS_SHARE",
        share,
        0.9,
        "Part of Redis' `maxmemory` from which on new events are answered 503, so that "
        "the workers have room left to make room; `1`: not before it is full.",
    ),
    Option(
        "BRIDGE_DURABILITY",
        one_of("redis", "fsync"),
        "redis",
        "What a 2xx waits for: that Redis has the event (`redis`: how safe it is there, "
        "its `appendfsync` says), or that it is on Redis' disk (`fsync`: `WAITAOF`, "
        "Redis 7.2 or Valkey with `appendonly yes`).",
    ),
    Option("CONSOLE_USERNAME", text, "admin", "User of the console."),
    Option(
        "CONSOLE_PASSWORD",
        text,
        None,
        "Password of the console and the queue dashboard; unset: both are off (404).",
        secret=True,
    ),
    Option(
        "WORKER_PROCESSES",
        whole(1, 64),
        1,
        "Worker processes that `python -m workers` keeps.",
    ),
    Option(
        "LOG_LEVEL",
        one_of("DEBUG", "INFO", "WARNING", "ERROR"),
        "INFO",
        "Least level that is logged.",
    ),
    Option("LOG_FORMAT", one_of("json", "text"), "json", "Form of a log line."),
)
"""Every variable of the bridge itself; the sources bring their own."""


@dataclass(frozen=True)
class Settings:
    """What the environment says; made by `from_env` alone. Secrets are not in the repr.

    *sources* holds the values of the sources' own options by name.
    """

    port: int
    redis_url: str = field(repr=False)
    redis_tls_verify: bool
    vitally_api_key: str = field(repr=False)
    vitally_subdomain: str | None
    vitally_region: str
    vitally_base_url: str
    vitally_budget_share: float
    bridge_config: str | None
    bridge_public_url: str | None
    bridge_create: str
    bridge_dry_run: bool
    bridge_allow_eviction: bool
    bridge_redis_share: float
    bridge_durability: str
    console_username: str
    console_password: str | None = field(repr=False)
    worker_processes: int
    log_level: str
    log_format: str
    sources: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def vitally_authorization(self) -> str:
        """The ready `Authorization` header: Basic, the key as user, no password."""
        if self.vitally_api_key.startswith("Basic "):
            return self.vitally_api_key
        pair = f"{self.vitally_api_key}:".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str],
        options: Iterable[Option] = (),
        without: Collection[str] = (),
    ) -> Settings:
        """Read *environ*; *options* are the sources'. Raises ConfigError.

        *without* names required variables that the caller can do without; their
        value is then empty.
        """
        problems: list[str] = []
        own = read_all(OPTIONS, environ, without, problems)
        theirs = tuple(options)
        extra = read_all(theirs, environ, without, problems)
        problems += unknown(environ, (*OPTIONS, *theirs))
        if own["VITALLY_BASE_URL"] is None:
            own["VITALLY_BASE_URL"] = _derived_base_url(own)
        if own["VITALLY_BASE_URL"] is None and "VITALLY_API_KEY" not in without:
            problems += _no_subdomain(environ)
        if problems:
            raise ConfigError(problems)
        own["VITALLY_BASE_URL"] = own["VITALLY_BASE_URL"] or ""
        named = {
            f.name: own[f.name.upper()] for f in fields(cls) if f.name != "sources"
        }
        return cls(**named, sources=extra)


def _derived_base_url(own: Mapping[str, Any]) -> str | None:
    """Hosts: https://docs.vitally.io/en/articles/9880654-rest-api-accounts."""
    if own["VITALLY_REGION"] == "eu":
        return "https://rest.vitally-eu.io"
    if own["VITALLY_SUBDOMAIN"] is None:
        return None
    return f"https://{own['VITALLY_SUBDOMAIN']}.rest.vitally.io"


def _no_subdomain(environ: Mapping[str, str]) -> list[str]:
    """The problem to name, unless the value that is there was refused already."""
    if environ.get("VITALLY_SUBDOMAIN") or environ.get("VITALLY_BASE_URL"):
        return []
    return [
        "VITALLY_SUBDOMAIN is required in the us region (the name before .vitally.io)"
    ]
