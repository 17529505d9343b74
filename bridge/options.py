"""How one environment variable is declared, what its text may be, and how it is read.

What the text of an address may be is in `bridge.addresses`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Parse = Callable[[str], Any]
"""Text of a variable to its value; raises ValueError with what it *must be*, and never
with the text: it may be a secret, and the words are printed."""

OURS = ("must ", "and ", "cannot ")
"""How those words begin; those of a library, which may quote the text, do not."""


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


def subdomain(value: str) -> str:
    """One DNS label: it becomes part of a host name."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value.lower()):
        raise ValueError("must be one DNS label, e.g. acme for acme.vitally.io")
    return value.lower()


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
            said = str(error)
            said = said if said.startswith(OURS) else "cannot be read"
            problems.append(f"{option.name} {said}")
    return found


def _raw(option: Option, environ: Mapping[str, str]) -> str:
    """Text of one variable, from itself or from the file that `NAME_FILE` names."""
    value = environ.get(option.name, "").strip()
    if not _is_utf8(value):
        raise ValueError("must be UTF-8")
    path = environ.get(f"{option.name}_FILE", "") if option.secret else ""
    if not path:
        return value
    if value:
        raise ValueError(f"and {option.name}_FILE are both set; choose one")
    # Somebody may have put the secret itself there.
    where = f"{option.name}_FILE" + (f"={path}" if path.startswith("/") else "")
    try:
        return Path(path).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise ValueError(f"cannot be read from {where}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"cannot be read from {where}: it is not UTF-8") from None


def _is_utf8(text: str) -> bool:
    """Whether the system's bytes were UTF-8: Python passes others as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def unknown(environ: Mapping[str, str], options: Iterable[Option]) -> list[str]:
    """The problems of misspelt names: a typo must not be a default."""
    known = {o.name for o in options} | {f"{o.name}_FILE" for o in options if o.secret}
    return [
        f"{name} is no setting of the bridge; is it misspelt?"
        for name in sorted(environ)
        if name.startswith(("BRIDGE_", "VITALLY_")) and name not in known
    ]
