"""How data is printed: as tables and sentences for people, as JSON for programs.

A command makes data (dictionaries, lists, NamedTuples) and says by a function of the data
alone how it reads in words; `show` prints one of the two. Whatever a sender put into a
text, each line stays one line and steers no terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import orjson

from bridge.log import plain

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""The option of each command that only shows something."""


def show(data: Any, words: Callable[[Any], Iterable[str]], *, as_json: bool) -> None:
    """Print *data* as JSON, or in *words*."""
    say(*(json_lines(data) if as_json else words(data)))


def say(*lines: str) -> None:
    """Print lines."""
    for line in lines:
        click.echo(plain(line))


def note(text: str) -> None:
    """Tell the one who waits, beside the output."""
    click.echo(plain(text), err=True)


def json_lines(data: Any) -> list[str]:
    """Return *data* as indented JSON."""
    text = orjson.dumps(data, _record, orjson.OPT_INDENT_2)
    return text.decode().split("\n")


def _record(record: Any) -> dict[str, Any]:
    """A NamedTuple as an object with its fields."""
    fields: dict[str, Any] = record._asdict()
    return fields


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return rows as lines with columns, as wide as they need to be."""
    texts = [[cell(value) for value in row] for row in rows]
    texts = [list(heading), *texts] if heading else texts
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = (zip(row, widths, strict=True) for row in texts)
    return ["  ".join(c.ljust(w) for c, w in line).rstrip() for line in lines]


def cell(value: object) -> str:
    """A value as one line of text."""
    if value is None:
        return "-"
    return plain(value if isinstance(value, str) else orjson.dumps(value).decode())


def count(number: int, one: str, more: str = "") -> str:
    """`1 event`, `2,000 events`; *more* is the plural where an s does not make it."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def now_ms() -> int:
    """The clock in milliseconds."""
    return time.time_ns() // 1_000_000


def ago(milliseconds: float) -> str:
    """A length of time a person can read."""
    seconds = milliseconds / 1000
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def moment(milliseconds: int) -> str:
    """An instant a person can read, UTC; whatever a sender may have said it is."""
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError):
        return f"{milliseconds} ms"
    return at.strftime("%Y-%m-%d %H:%M:%S")
