"""How data is printed: as tables and sentences for people, as JSON for programs.

A command makes data (dictionaries, lists, NamedTuples) and a function that turns the
data into lines of text; `show` prints one or the other. Whatever a sender put into a
text, each line stays one line and contains no terminal control characters.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import click
import orjson

from bridge.errors import BridgeError
from bridge.log import plain
from bridge.wording import ago, count, moment

__all__ = [
    "ago",
    "as_json",
    "cell",
    "count",
    "json_lines",
    "moment",
    "note",
    "now_ms",
    "say",
    "show",
    "table",
    "wants_json",
]

JSON = "bridge.json"
"""Where click keeps, for the command that runs, whether it was called with `--json`."""


def _keep(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[JSON] = value


as_json = click.option(
    "--json", is_flag=True, expose_value=False, callback=_keep, help="Print JSON."
)
"""The option of each command that only shows something; `show` heeds it."""


WATCH = "bridge.watch"
"""The same for the seconds of `--watch`."""


def _watch(context: click.Context, _: click.Parameter, value: float | None) -> None:
    context.meta[WATCH] = value


watched = click.option(
    "--watch",
    is_flag=False,
    flag_value=2.0,
    type=click.FloatRange(min=0.1),
    expose_value=False,
    callback=_watch,
    metavar="[SECONDS]",
    help="Show it again every so many seconds (2), until Ctrl-C.",
)
"""The option of commands that one may want to look at for a while; `Command` heeds it."""


def wants_json() -> bool:
    """Whether the command that runs was called with `--json`."""
    return bool(click.get_current_context().meta.get(JSON))


def show(data: Any, words: Callable[[Any], Iterable[str]]) -> None:
    """Print *data* as JSON where that is asked for, else in *words*."""
    say(*(json_lines(data) if wants_json() else words(data)))


def tell(data: Any, *lines: str) -> None:
    """Print *data* as JSON where that is asked for, else these *lines*."""
    show(data, lambda _: lines)


def say(*lines: str) -> None:
    """Print lines."""
    if lines:
        click.echo("\n".join(map(plain, lines)))


def note(text: str) -> None:
    """Print a line on stderr, for the person who waits."""
    click.echo(plain(text), err=True)


def confirm(question: str, answer: str, *, yes: bool) -> None:
    """Have *answer* typed, unless *yes*. Raises UsageError without a terminal to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("this asks first, and there is no terminal: give --yes")
    if click.prompt(question, default="", show_default=False, err=True) != answer:
        raise BridgeError(f"that is not {answer}; nothing is done")


def near(word: str, known: Iterable[str]) -> str:
    """A hint at the one of *known* that *word* is like; "": none is."""
    close = get_close_matches(word, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def json_lines(data: Any) -> list[str]:
    """Return *data* as indented JSON; a NamedTuple is an object with its fields."""
    text = orjson.dumps(data, lambda record: record._asdict(), orjson.OPT_INDENT_2)
    return text.decode().split("\n")


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return rows as lines with columns, as wide as they need to be."""
    texts = [list(heading)] if heading else []
    texts += [[cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = (zip(row, widths, strict=True) for row in texts)
    return ["  ".join(c.ljust(w) for c, w in line).rstrip() for line in lines]


def cell(value: object) -> str:
    """A value as one line of text."""
    if value is None:
        return "-"
    return plain(value if isinstance(value, str) else orjson.dumps(value).decode())


def now_ms() -> int:
    """The clock in milliseconds."""
    return time.time_ns() // 1_000_000
