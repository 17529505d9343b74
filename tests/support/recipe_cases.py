"""The cases of `tests/cases/recipes` as deliveries in the vendor's shape.

How a case is written: `tests/cases/README.md`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from bridge.sources.generic import recipes
from tests.support.stripe_cases import DAY_0, INSTANTS

Case = Mapping[str, Any]
Json = dict[str, Any]

FOLDER = Path(__file__).parents[1] / "cases" / "recipes"
USUAL = "subscription"
OF_EVENTS = {"day", "of"}


class Look(NamedTuple):
    """When the traits of a case are read (a day), and what they are then."""

    now: float
    traits: Mapping[str, Any]


class Told(NamedTuple):
    """One event of a case as the bridge gets it: a delivery, or what was *read*."""

    body: Json
    headers: Mapping[str, str]
    at: datetime
    read: str = ""

    def encoded(self, recipe: str) -> bytes:
        """The body of its delivery."""
        if recipes()[recipe].get("body") == "form":
            return urlencode(list(_pairs(self.body))).encode()
        return orjson.dumps(self.body)


class Book(NamedTuple):
    """The cases of one recipe."""

    recipe: str
    said: Case

    @property
    def cases(self) -> list[Case]:
        found: list[Case] = self.said["case"]
        return found

    def told(
        self, case: Case, day_0: datetime = DAY_0, *, rising: bool = False
    ) -> list[Told]:
        """The case's events as they happened; their numbers are *rising* or falling."""
        known: dict[tuple[str, str], Json] = {}
        found: list[Told] = []
        for n, event in enumerate(case["events"]):
            base, of = event.get("base", USUAL), str(event.get("of", "1"))
            news = {k: v for k, v in event.items() if k not in {*OF_EVENTS, "base"}}
            before = known.get((base, of), self._base(base))
            known[base, of] = self._over(before, news)
            fill = _filler(
                {"{id}": of, "{n}": str(500 + n if rising else 500 - n)},
                {"{day}": event["day"]},
                self.said.get("time", "%Y-%m-%dT%H:%M:%SZ"),
                day_0,
            )
            found.append(
                Told(
                    fill(known[base, of]),
                    fill(self.said.get("headers", {})),
                    day_0 + timedelta(days=event["day"]),
                    base if base.startswith("read.") else "",
                )
            )
        return found

    def _base(self, name: str) -> Any:
        return orjson.loads(self.said["bases"][name])

    def _over(self, below: Any, news: Any) -> Any:
        """Lay *news* over what was known: tables key by key, all else whole."""
        if isinstance(news, list):
            return [self._over(None, one) for one in news]
        if not isinstance(news, dict):
            return None if news == "null" else news
        if "base" in news:
            below = self._base(news["base"])
        if isinstance(below, list):
            changed = {int(key): value for key, value in news.items()}
            return [
                self._over(one, changed[n]) if n in changed else one
                for n, one in enumerate(below)
            ]
        found = dict(below) if isinstance(below, dict) else {}
        for key, value in news.items():
            if value == "absent":
                found.pop(key, None)
            elif key != "base":
                found[key] = self._over(found.get(key), value)
        return found


@cache
def books() -> list[Book]:
    """The cases of every recipe that has some."""
    return [
        Book(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
        for path in sorted(FOLDER.glob("*.toml"))
    ]


def looks(case: Case) -> list[Look]:
    """When the case is looked at, in this order."""
    last = max(event["day"] for event in case["events"])
    told = case.get("looks", [case])
    return [Look(look.get("now", last), look["traits"]) for look in told]


def expected(look: Look, day_0: datetime = DAY_0) -> Json:
    """The traits of a look, in Vitally's form."""
    return {name: _value(name, value, day_0) for name, value in look.traits.items()}


def _value(trait: str, value: Any, day_0: datetime) -> Any:
    if value == "null":
        return None
    if trait in INSTANTS and value != "left out":
        at = day_0 + timedelta(days=value)
        return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return value


def milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _filler(
    words: Mapping[str, str], days: Mapping[str, float], form: str, day_0: datetime
) -> Callable[[Any], Any]:
    """Puts ids and instants where a body has words for them."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(one) for key, one in value.items()}
        if isinstance(value, list):
            return [fill(one) for one in value]
        return word(value) if isinstance(value, str) else value

    def word(text: str) -> Any:
        if text in days or text.startswith("day "):
            day = days[text] if text in days else float(text.removeprefix("day "))
            return _written(day_0 + timedelta(days=day), form)
        if text == "{ms}":
            return milliseconds(day_0 + timedelta(days=days["{day}"]))
        for name, said in words.items():
            text = text.replace(name, said)
        return text

    return fill


def _written(at: datetime, form: str) -> Any:
    """An instant as the vendor writes it."""
    if form == "unix":
        return int(at.timestamp())
    return at.astimezone(UTC).strftime(form)


def _pairs(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """`a[b][c]` with its text, as forms with brackets have it."""
    if isinstance(value, dict | list):
        rows = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in rows:
            yield from _pairs(one, f"{name}[{key}]" if name else str(key))
    elif isinstance(value, bool):
        yield name, str(value).lower()
    else:
        yield name, "" if value is None else str(value)
