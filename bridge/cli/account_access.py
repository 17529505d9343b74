"""How the accounts commands reach Vitally, and what they say when it fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from bridge.cli.program import program
from bridge.errors import (
    BridgeError,
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyMissingError,
    VitallyUnavailableError,
)
from bridge.plain import plain
from bridge.settings import Settings
from bridge.sources import options
from bridge.vitally.client import Vitally

T = TypeVar("T")

_WHAT_NEXT: tuple[tuple[type[VitallyError], str], ...] = (
    (
        VitallyKeyError,
        "check that VITALLY_API_KEY is a REST key of this workspace and region",
    ),
    (
        VitallyLimitedError,
        "Vitally's rate limit is used up; wait a minute and try again",
    ),
    (
        VitallyMissingError,
        (
            "check the id with `{program} accounts list`; where even that finds "
            "nothing, check VITALLY_SUBDOMAIN or VITALLY_BASE_URL"
        ),
    ),
    (
        VitallyUnavailableError,
        (
            "check the address and try again; if this was a write, look first at what "
            "became of it (`{program} accounts get ID`)"
        ),
    ),
    (VitallyError, "correct it and try again"),
)
"""What a person can do about each error; the first row that fits."""


def settings_of() -> Settings:
    """Read the environment; Redis is not needed. Raises ConfigError."""
    return Settings.from_env(os.environ, options(), without={"REDIS_URL"})


def client(settings: Settings) -> Vitally:
    """Return a client of the workspace that *settings* name."""
    return Vitally(settings.vitally_base_url, settings.vitally_authorization)


def named(account: str) -> str:
    """Return what an account is called in a sentence."""
    return f"account {plain(account)!r}"


def tried(vitally: Vitally, what: str, act: Callable[[], T]) -> T:
    """Return what *act* does; an error becomes a sentence: what, where, what next."""
    try:
        return act()
    except VitallyError as error:
        told = f"{error.status}: {error.reason}" if error.status else error.reason
        after = next(words for kind, words in _WHAT_NEXT if isinstance(error, kind))
        after = after.format(program=program())
        sentence = f"{what} at {vitally.base_url}: {plain(told).rstrip('.')}; {after}"
        raise BridgeError(sentence) from error
