"""Recorded deliveries, told anew: as of now, under fresh ids, with values set by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import blake2s
from importlib.resources import files
from typing import Any

from bridge.webhook.source import Source

TIME = re.compile(
    r"(?<![\w.-])(?:(?P<seconds>1[4-9]\d{8})(?P<ms>\d{3})?(?![\w.-])"
    r"|(?P<day>20\d\d-\d\d-\d\d)"
    r"(?:(?P<mark>[T +])(?P<h>\d\d)(?P<colon>:|%3A)(?P<m>\d\d)(?P=colon)(?P<s>\d\d)"
    r"|(?![\w.])))"
)
"""An instant in seconds, in milliseconds, as ISO 8601, or a day."""

HEAD = re.compile("[A-Za-z]+[_-]")

RECORD_ID = re.compile("[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")
"""An id whose first three characters name a kind of record, as Salesforce's."""


def examples(source: Source) -> dict[str, bytes]:
    """Return the recorded deliveries of *source*, by name: `TYPE__what_it_shows`."""
    name = f"generic/fixtures/{source.recipe}" if source.recipe else source.name
    folder = files("bridge.sources").joinpath(*name.split("/"))
    folder = folder if source.recipe else folder.joinpath("fixtures")
    if not folder.is_dir():
        return {}
    listed = {file.name: file for file in folder.iterdir() if "__" in file.name}
    return {
        name.rpartition(".")[0]: listed[name].read_bytes()
        for name in sorted(listed)
        if not name.endswith(".facts.json") and not name.startswith("read.")
    }


def retold(text: str, shift_ms: int, ids: Mapping[str, str]) -> str:
    """Move all times in *text* by *shift_ms*, and replace *ids* outside of them.

    A short id may be the minutes of a time, too.
    """
    parts, end = [], 0
    for found in TIME.finditer(text):
        parts += [_renamed(text[end : found.start()], ids), _moved(shift_ms, found)]
        end = found.end()
    return "".join([*parts, _renamed(text[end:], ids)])


def _renamed(text: str, ids: Mapping[str, str]) -> str:
    for old, new in ids.items():
        text = re.sub(rf"(?<![\w-]){re.escape(old)}(?![\w-])", new, text)
    return text


def _moved(shift_ms: int, found: re.Match[str]) -> str:
    if found["ms"]:
        return str(int(found["seconds"] + found["ms"]) + shift_ms)
    if found["seconds"]:
        return str(int(found["seconds"]) + shift_ms // 1000)
    day, clock = found["day"], [found[part] or "00" for part in "hms"]
    at = datetime.fromisoformat(f"{day}T{':'.join(clock)}")
    at += timedelta(seconds=shift_ms // 1000)
    colon = found["colon"] or ""
    rest = f"{found['mark']}%H{colon}%M{colon}%S" if colon else ""
    return f"{at:%Y-%m-%d}" + at.strftime(rest.replace("%3A", "%%3A"))


def fresh(ids: Iterable[str], word: str) -> dict[str, str]:
    """Map each of *ids* to another of its form; always the same one for a *word*."""
    return {id_: _another(id_, word) for id_ in ids}


def _another(id_: str, word: str) -> str:
    digest = blake2s(f"{word} {id_}".encode(), digest_size=8).hexdigest()
    if id_.isdigit():
        return str(int(digest, 16) + 10**19)[: len(id_)]
    if RECORD_ID.fullmatch(id_):
        return (id_[:3] + digest)[: len(id_)]
    head = HEAD.match(id_)
    return (head[0] if head else "") + digest[:12]


def set_value(body: Any, path: str, value: Any) -> None:
    """Set what *path* (`data.items.0.id`) names in *body*. Raises ValueError."""
    *above, last = path.split(".")
    where = body
    for step in above:
        where = where[_step(where, step, path)]
    if isinstance(where, dict):
        where[last] = value
    else:
        where[_step(where, last, path)] = value


def _step(where: Any, step: str, path: str) -> Any:
    """The key or index that *step* is in *where*."""
    if isinstance(where, dict) and step in where:
        return step
    if isinstance(where, list) and step.isdigit() and int(step) < len(where):
        return int(step)
    has = ", ".join(where) if isinstance(where, dict) else "no such element"
    raise ValueError(f"{path}: there is no {step!r}; there is {has}")
