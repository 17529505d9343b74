"""How one environment variable is declared, and what its text may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

Parse = Callable[[str], Any]
"""Text of a variable to its value; raises ValueError with what it *must be*."""


class Option(NamedTuple):
    """One environment variable: how it is read and what it means."""

    name: str
    parse: Parse
    default: Any
    meaning: str
    required: bool = False
    secret: bool = False
    shown: str = ""
    """What the documentation says in place of the default."""


def text(value: str) -> str:
    """Any text."""
    return value


def boolean(value: str) -> bool:
    """`true` or `false`, in any case."""
    known = {"true": True, "false": False}
    if value.lower() not in known:
        raise ValueError("must be true or false")
    return known[value.lower()]


def whole(low: int, high: int) -> Parse:
    """A whole number between *low* and *high*."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


def one_of(*allowed: str) -> Parse:
    """One of the *allowed* words, as it stands."""

    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value

    return parse


def share(value: str) -> float:
    """A number above 0, up to 1."""
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", value) or not 0 < float(value) <= 1:
        raise ValueError("must be a number above 0 and not above 1")
    return float(value)


def several(value: str) -> tuple[str, ...]:
    """One or several values, separated by commas."""
    found = tuple(part.strip() for part in value.split(",") if part.strip())
    if not found:
        raise ValueError("must hold at least one value")
    return found


def header_value(value: str) -> str:
    """Printable ASCII, as it may stand in an HTTP header."""
    if not re.fullmatch(r"[!-~]+( [!-~]+)?", value):
        raise ValueError("must be printable ASCII without line breaks")
    return value


def redis_url(value: str) -> str:
    """`redis://`, `rediss://` or `unix://`."""
    if urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return value


def subdomain(value: str) -> str:
    """One DNS label: it becomes part of a host name."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value.lower()):
        raise ValueError("must be one DNS label, e.g. acme for acme.vitally.io")
    return value.lower()


def base_url(value: str) -> str:
    """Scheme, host and port alone; returned without a final slash."""
    parts = urlsplit(value)
    port_ok = True
    try:
        _ = parts.port
    except ValueError:
        port_ok = False
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or not port_ok
        or parts.path not in {"", "/"}
        or parts.query
        or parts.fragment
        or parts.username is not None
    ):
        raise ValueError("must be http(s)://host[:port] and nothing more")
    return value.rstrip("/")
