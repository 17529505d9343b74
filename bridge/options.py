"""One environment variable: how it is declared, what its text may be, how it is read.

No mistake repeats the text, which may be a secret or hold one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

Parse = Callable[[str], Any]
"""Text of a variable -> its value; raises TextError with what the text *must be*."""


class TextError(ValueError):
    """Says what a text must be, and nothing of what it is: the words are printed."""


class Option(NamedTuple):
    """One environment variable: how it is read and what it means."""

    name: str
    parse: Parse
    meaning: str
    default: Any = None
    required: bool = False
    secret: bool = False
    """Its text may come from the file that `NAME_FILE` names, and is never shown."""
    shown: str = ""
    """What the documentation says in place of the default."""


def matching(pattern: str, must: str, convert: Callable[[str], Any] = str) -> Parse:
    """Text that *pattern* matches and *convert* takes, which raises ValueError."""

    def parse(text: str) -> Any:
        if re.fullmatch(pattern, text):
            with suppress(ValueError):
                return convert(text)
        raise TextError(must)

    return parse


def whole(low: int, high: int) -> Parse:
    """A whole number between *low* and *high*."""

    def number(text: str) -> int:
        if not low <= int(text) <= high:
            raise ValueError
        return int(text)

    must = f"must be a whole number from {low} to {high}"
    return matching("[0-9]{1,9}", must, number)


def one_of(*allowed: str) -> Parse:
    """One of the *allowed* words, as it stands."""
    return matching("|".join(allowed), f"must be one of {', '.join(allowed)}")


def several(text: str) -> tuple[str, ...]:
    """One or several values, separated by commas."""
    values = tuple(part.strip() for part in text.split(",") if part.strip())
    if not values:
        raise TextError("must hold at least one value")
    return values


def _address(url: str) -> str:
    """Return *url*; raises ValueError where its port or IPv6 address is none."""
    parts = urlsplit(url)
    if ":" in (parts.hostname or ""):
        IPv6Address(parts.hostname or "")
    if parts.port == 0:
        raise ValueError
    return url


text: Parse = str
"""Any text."""

boolean = matching(
    "(?ai:true|false)", "must be true or false", lambda text: text.lower() == "true"
)

share = matching(
    r"0?\.(?=.*[1-9])[0-9]+|1(\.0+)?", "must be a number above 0 and not above 1", float
)

header_value = matching(
    "[!-~]+( [!-~]+)?", "must be printable ASCII without line breaks"
)

subdomain = matching(
    "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
    "must be one DNS label, e.g. acme for acme.vitally.io",
    str.lower,
)

base_url = matching(
    r"(?ai:https?)://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:[0-9]{1,5})?/?",
    "must be http(s)://host[:port] and nothing more",
    lambda url: _address(url).rstrip("/"),
)


def _query(pairs: str) -> str:
    """The pattern of a URL's query of these *pairs*, which may be missing."""
    return rf"(\?({pairs})(&({pairs}))*)?"


USER = r"([^/?#\[\]\s]*@)?"
TCP = rf"{USER}(\[[0-9a-fA-F:.]+\]|(?a:[\w.-]*))(:[0-9]{{1,5}})?(/([0-9]{{1,4}}/?)?)?"
VALUE = r"=[^&#\s]+"
ANY = rf"db=[0-9]{{1,4}}|protocol=[23]|client_name{VALUE}"
TLS = (
    "ssl_cert_reqs=(none|optional|required)|ssl_check_hostname=(?ai:true|false)|"
    f"(ssl_ca_certs|ssl_certfile|ssl_keyfile){VALUE}"
)
# redis-py takes more after the `?`, but that would undo our time-outs, or fails only at
# the first connection.
redis_url = matching(
    rf"redis://{TCP}{_query(ANY)}|rediss://{TCP}{_query(f'{ANY}|{TLS}')}|"
    rf"unix://{USER}/[^?#\s]+{_query(f'{ANY}|(username|password){VALUE}')}",
    "must begin with redis://, rediss:// or unix://, as in redis://[[user]:password@]"
    "host[:port][/db] or unix://[[user]:password@]/path, and have nothing after a ? but "
    "db, protocol (2 or 3) and client_name, for rediss:// also ssl_cert_reqs, "
    "ssl_check_hostname, ssl_ca_certs, ssl_certfile and ssl_keyfile, for unix:// also "
    "username and password; in a password, / # ? [ ] and blanks are written as "
    "%2F %23 %3F %5B %5D %20",
    _address,
)


def read_all(
    options: Iterable[Option],
    environ: Mapping[str, str],
    without: Collection[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Return the values by name, and each mistake.

    A value that is wrong or missing is the default. *without* names required variables
    that the caller can do without; their value is then empty.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for option in options:
        values[option.name] = "" if option.required else option.default
        try:
            given = _given(option, environ)
            if given:
                values[option.name] = option.parse(given)
            elif option.required and option.name not in without:
                problems.append(f"{option.name} is required: {option.meaning}")
        except TextError as error:
            problems.append(f"{option.name} {error}")
        except ValueError:  # a library's words may quote the text
            problems.append(f"{option.name} cannot be read")
    return values, problems


def _given(option: Option, environ: Mapping[str, str]) -> str:
    """Return a variable's text, its own or of the file that `NAME_FILE` names."""
    own = environ.get(option.name, "").strip()
    path = environ.get(f"{option.name}_FILE", "") if option.secret else ""
    if own and path:
        raise TextError(f"and {option.name}_FILE are both set; choose one")
    if re.search("[\ud800-\udfff]", own):  # Python's way to pass other bytes on
        raise TextError("must be UTF-8")
    if not path:
        return own
    try:
        return Path(path).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        reason = error.strerror
    except ValueError:
        reason = "it is not UTF-8"
    # Somebody may have put the secret itself there.
    where = f"{option.name}_FILE" + (f"={path}" if path.startswith("/") else "")
    raise TextError(f"cannot be read from {where}: {reason}")


def unknown(environ: Mapping[str, str], options: Iterable[Option]) -> list[str]:
    """The problems of misspelt names: a typo must not be a default."""
    known = {o.name for o in options} | {f"{o.name}_FILE" for o in options if o.secret}
    return [
        f"{name} is no setting of the bridge; is it misspelt?"
        for name in sorted(environ)
        if name.startswith(("BRIDGE_", "VITALLY_")) and name not in known
    ]
