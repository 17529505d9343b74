"""What the suite has to know of a source: a file of this folder for each, with `KNOWN`.

`python -m bridge sources new NAME` writes the file of a new one.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import bridge.sources
from bridge.config import Table
from bridge.domain.facts import Fact
from bridge.webhook.source import Delivery, Event, Options, Source
from tests.support.reader import Reader

HERE = Path(__file__).parent
FOLDER = Path(bridge.sources.__path__[0])
NOW = 1_793_520_000.0
URL = "https://bridge.example.com/webhooks/x"

Lines = Mapping[str, Any]
"""A table of `bridge.toml`, or a part of one."""


class Known(NamedTuple):
    """One source, or one recipe.

    *on*: the settings that switch it on, with `secret` as its secret. *signed* makes
    the delivery of a body as a sender with that secret does. *mistakes*: tables of
    `bridge.toml` that are wrong, each with how its one problem begins.
    """

    source: Source
    signed: Callable[[bytes, str], Delivery]
    secret: str
    on: Options
    fixtures: Path
    mistakes: Sequence[tuple[Lines, str]] = ()
    off: Source | None = None
    """The same where its secret is no setting of its own but a line of a table."""
    table: Callable[[Lines], Table] | None = None
    """Reads its table of `bridge.toml`, where the source itself does not."""

    @property
    def name(self) -> str:
        """How tests call it."""
        return self.source.name

    @property
    def reader(self) -> Reader:
        """The source with no secret set, under the `bridge.toml` by its fixtures."""
        file = self.fixtures / "bridge.toml"
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        return Reader(self.source, tomllib.loads(text))

    @property
    def options(self) -> dict[str, Any]:
        """Its options then."""
        return self.reader.options

    @property
    def bodies(self) -> list[Path]:
        """The recorded deliveries, each named `TYPE__what_it_shows`."""
        found = sorted(self.fixtures.glob("*__*"))
        return [path for path in found if not path.name.endswith(".facts.json")]

    def events(self, path: Path) -> list[Event]:
        """The events of a recorded delivery, or of what a reader gives to its rules."""
        body, kind = path.read_bytes(), path.name.partition("__")[0]
        if kind.startswith("read."):
            told = {**json.loads(body), "party": "blue-door"}
            return [Event(kind, kind, 1_772_355_600_000, told)]
        return self.reader.events(body)

    def facts(self, path: Path) -> Iterator[Fact]:
        """What the ingress makes of it."""
        return self.reader.facts_of(self.events(path))


def golden_of(path: Path) -> Path:
    """Where the facts of a recorded delivery stand."""
    return path.with_name(f"{path.stem}.facts.json")


@cache
def every() -> list[Known]:
    """All of them: each file here but the tests and this one has some."""
    names = sorted(path.stem for path in HERE.glob("*.py"))
    names = [n for n in names if n != "known" and not n.startswith("test_")]
    return [k for n in names for k in import_module(f"tests.sources.{n}").KNOWN]
