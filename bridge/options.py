"""How one environment variable is declared, what its text may be, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

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


class Sentinels(NamedTuple):
    """Where Redis is by the word of its sentinels: their addresses, its name there."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    db: int
    username: str | None
    password: str | None
    tls: bool


HOST = r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:[0-9]{1,5})?"
SENTINELS = re.compile(
    r"redis(?P<tls>s?)\+sentinel://"
    r"((?P<username>[^:@/]*):(?P<password>[^:@/]+)@)?"
    rf"(?P<hosts>{HOST}(,{HOST})*)/(?P<master>[\w.-]+)(/(?P<db>[0-9]{{1,4}}))?",
    re.ASCII,
)
SENTINEL_PORT = 26379


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
    """`redis://`, `rediss://`, `unix://`, or a URL of `sentinels`."""
    scheme = value.partition("://")[0]
    if scheme.endswith("+sentinel"):
        sentinels(value)
    elif scheme not in {"redis", "rediss", "unix"}:
        raise ValueError(
            "must begin with redis://, rediss://, unix:// or redis+sentinel://"
        )
    return value


def sentinels(value: str) -> Sentinels:
    """`redis+sentinel://[:password@]host1[:26379],host2/mymaster[/0]`."""
    found = SENTINELS.fullmatch(value)
    if found is None:
        raise ValueError(
            "must be redis+sentinel://[:password@]host1[:port],host2[:port]/name[/db]"
        )
    each = (urlsplit(f"//{one}") for one in found["hosts"].split(","))
    return Sentinels(
        tuple((one.hostname or "", one.port or SENTINEL_PORT) for one in each),
        found["master"],
        int(found["db"] or 0),
        unquote(found["username"] or "") or None,
        unquote(found["password"] or "") or None,
        bool(found["tls"]),
    )


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


def read_all(
    options: Iterable[Option],
    environ: Mapping[str, str],
    without: Collection[str],
    problems: list[str],
) -> dict[str, Any]:
    """Values by name; each mistake is added to *problems*, see `Settings.from_env`."""
    found: dict[str, Any] = {}
    for option in options:
        found[option.name] = option.default
        try:
            raw = _raw(option, environ)
            if raw:
                found[option.name] = option.parse(raw)
            elif option.required and option.name not in without:
                problems.append(f"{option.name} is required: {option.meaning}")
            elif option.required:
                found[option.name] = ""
        except ValueError as error:
            problems.append(f"{option.name} {error}")
    return found


def _raw(option: Option, environ: Mapping[str, str]) -> str:
    """Text of one variable, from itself or from the file that `NAME_FILE` names."""
    value = environ.get(option.name, "").strip()
    path = environ.get(f"{option.name}_FILE", "") if option.secret else ""
    if not path:
        return value
    if value:
        raise ValueError(f"and {option.name}_FILE are both set; choose one")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"cannot be read from {option.name}_FILE={path}: {error}"
        ) from None


def unknown(environ: Mapping[str, str], options: Iterable[Option]) -> list[str]:
    """The problems of misspelt names: a typo must not be a default."""
    known = {o.name for o in options} | {f"{o.name}_FILE" for o in options if o.secret}
    return [
        f"{name} is no setting of the bridge; is it misspelt?"
        for name in sorted(environ)
        if name.startswith(("BRIDGE_", "VITALLY_")) and name not in known
    ]
