"""The environment as one frozen, typed object; every problem is named at once."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bridge.errors import ConfigError
from bridge.options import (
    Option,
    Parse,
    base_url,
    boolean,
    header_value,
    one_of,
    read_all,
    redis_url,
    share,
    subdomain,
    text,
    unknown,
    whole,
)


def _setting(parse: Parse, default: Any, meaning: str, **more: Any) -> Any:
    """A field of `Settings`, declared as the `Option` of its name is."""
    option = Option("", parse, meaning, default, **more)
    return field(repr=not option.secret, metadata={"option": option})


@dataclass(frozen=True)
class Settings:
    """What the environment says; made by `from_env` alone. Secrets are not in the repr.

    The variable of each field has its name in upper case. *sources* holds the values of
    the sources' own options by name.
    """

    port: int = _setting(whole(0, 65535), 8000, "Port of the web process.")
    redis_url: str = _setting(
        redis_url,
        None,
        "Where Redis is: `redis://`, `rediss://` or `unix://`.",
        required=True,
        secret=True,
    )
    redis_tls_verify: bool = _setting(
        boolean, True, "`false` for a self-signed `rediss://`, as on Heroku."
    )
    vitally_api_key: str = _setting(
        header_value,
        None,
        "REST key: the raw token or the ready `Basic …` header value.",
        required=True,
        secret=True,
    )
    vitally_subdomain: str | None = _setting(
        subdomain, None, "The name before `.vitally.io`; needed in the US region."
    )
    vitally_region: str = _setting(
        one_of("us", "eu"), "us", "Data centre of the workspace."
    )
    vitally_base_url: str = _setting(
        base_url,
        None,
        "Replaces host and scheme, e.g. `http://127.0.0.1:9000`.",
        shown="from region and subdomain",
    )
    vitally_budget_share: float = _setting(
        share, 0.8, "Part of Vitally's rate limit that the bridge may use."
    )
    bridge_config: str | None = _setting(
        text,
        None,
        "Path of the optional `bridge.toml` (trait names, money).",
        shown="`bridge.toml` if it exists",
    )
    bridge_public_url: str | None = _setting(
        base_url,
        None,
        "The address that senders call; unset: the `Host` they name, with the scheme "
        "in their router's `X-Forwarded-Proto`.",
    )
    bridge_create: str = _setting(
        one_of("customer", "subscription", "never"),
        "customer",
        "When an account that Vitally does not have is created: with any event of "
        "the customer, once a subscription is known, or never (held).",
    )
    bridge_dry_run: bool = _setting(
        boolean, False, "`true`: everything but the write to Vitally."
    )
    bridge_allow_eviction: bool = _setting(
        boolean,
        False,
        "`true`: run on a Redis that may evict keys (and so lose accounts).",
    )
    bridge_redis_share: float = _setting(
        share,
        0.9,
        "Part of Redis' `maxmemory` from which on new events are answered 503, so that "
        "the workers have room left to make room; `1`: not before it is full.",
    )
    bridge_durability: str = _setting(
        one_of("redis", "fsync"),
        "redis",
        "What a 2xx waits for: that Redis has the event (`redis`: how safe it is there, "
        "its `appendfsync` says), or that it is on Redis' disk (`fsync`: `WAITAOF`, "
        "Redis 7.2 or Valkey with `appendonly yes`).",
    )
    console_username: str = _setting(text, "admin", "User of the console.")
    console_password: str | None = _setting(
        text,
        None,
        "Password of the console and the queue dashboard; unset: both are off (404).",
        secret=True,
    )
    worker_processes: int = _setting(
        whole(1, 64), 1, "Worker processes that `python -m workers` keeps."
    )
    log_level: str = _setting(
        one_of("DEBUG", "INFO", "WARNING", "ERROR"),
        "INFO",
        "Least level that is logged.",
    )
    log_format: str = _setting(one_of("json", "text"), "json", "Form of a log line.")
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

        *without* names required variables that the caller can do without.
        """
        theirs = tuple(options)
        every = {option.name: option for option in (*OPTIONS, *theirs)}.values()
        values, problems = read_all(every, environ, without)
        problems += unknown(environ, every)
        if not values["VITALLY_BASE_URL"]:
            values["VITALLY_BASE_URL"] = _usual_url(values)
            # A subdomain or URL that is wrong has been named.
            tried = environ.get("VITALLY_SUBDOMAIN") or environ.get("VITALLY_BASE_URL")
            if not (
                values["VITALLY_BASE_URL"] or tried or "VITALLY_API_KEY" in without
            ):
                problems.append(NO_SUBDOMAIN)
        if problems:
            raise ConfigError(problems)
        own = {option.name.lower(): values[option.name] for option in OPTIONS}
        return cls(**own, sources={one.name: values[one.name] for one in theirs})


OPTIONS = tuple(
    one.metadata["option"]._replace(name=one.name.upper())
    for one in fields(Settings)
    if one.metadata
)
"""Every variable of the bridge itself; the sources bring their own."""

NO_SUBDOMAIN = (
    "VITALLY_SUBDOMAIN is required in the us region (the name before .vitally.io)"
)


def _usual_url(values: Mapping[str, Any]) -> str:
    """Return the address of region and subdomain; empty where one is not known.

    Hosts: https://docs.vitally.io/en/articles/9880654-rest-api-accounts.
    """
    if values["VITALLY_REGION"] == "eu":
        return "https://rest.vitally-eu.io"
    subdomain = values["VITALLY_SUBDOMAIN"]
    return f"https://{subdomain}.rest.vitally.io" if subdomain else ""
