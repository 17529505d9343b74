"""How data is printed: as tables and sentences for people, as JSON for programs.

A command makes data (dictionaries, lists, NamedTuples) and a function that turns the
data into lines of text; `show` prints one or the other. Whatever a sender put into a
text, each line stays one line and contains no terminal control characters.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar
from unicodedata import east_asian_width

import click
import orjson

from bridge.errors import BridgeError
from bridge.log import plain
from bridge.wording import program

JSON, WATCH = "bridge.json", "bridge.watch"
"""Where click keeps, for the command that runs, its `--json` and its `--watch`."""

EVERY = 5.0
"""Seconds between two lines of progress."""

T = TypeVar("T")


def _keep(context: click.Context, option: click.Parameter, value: object) -> None:
    context.meta[f"bridge.{option.name}"] = value


AS_JSON = click.Option(
    ["--json"], is_flag=True, expose_value=False, callback=_keep, help="Print JSON."
)
"""The option of each command with a result; `show` heeds it."""


watched = click.option(
    "--watch",
    is_flag=False,
    flag_value=2.0,
    type=click.FloatRange(min=0.1),
    expose_value=False,
    callback=_keep,
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


def typed(question: str, option: str) -> str:
    """What a person types. Raises UsageError without a terminal, naming the *option*."""
    if not sys.stdin.isatty():
        wrong = f"this asks first, and there is no terminal: give {option}"
        raise click.UsageError(wrong)
    words: str = click.prompt(question, default="", show_default=False, err=True)
    return words


def confirm(question: str, answer: str, *, yes: bool) -> None:
    """Have *answer* typed, unless *yes*. Raises UsageError without a terminal to ask."""
    if not yes and typed(question, "--yes") != answer:
        raise BridgeError(f"that is not {answer}; nothing is done")


yes_option = click.option("--yes", is_flag=True, help="Do not ask, for scripts.")
"""The option of each command that asks before it begins."""


def progress(steps: Iterable[T], words: Callable[[int, T], str]) -> Iterator[T]:
    """Yield *steps*; every few seconds say in *words* (how many, the last) how far it is."""
    noted = time.monotonic()
    for done, step in enumerate(steps, 1):
        yield step
        if time.monotonic() - noted >= EVERY:
            noted = time.monotonic()
            note(words(done, step))


def near(word: str, known: Iterable[str]) -> str:
    """A hint at the one of *known* that *word* is like; "": none is."""
    close = get_close_matches(word, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def one_of(known: Mapping[str, T], name: str, what: str) -> T:
    """The one of *name*. Raises BridgeError, with the one that may have been meant."""
    if name not in known:
        hint = f"see `{program()} sources`"
        raise BridgeError(f"{name}: no such {what}{near(name, known)}; {hint}")
    return known[name]


def json_lines(data: Any) -> list[str]:
    """Return *data* as indented JSON; a NamedTuple is an object with its fields."""
    text = orjson.dumps(data, lambda record: record._asdict(), orjson.OPT_INDENT_2)
    return text.decode().split("\n")


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return rows as lines with columns, as wide as they need to be."""
    texts = [list(heading)] if heading else []
    texts += [[cell(value) for value in row] for row in rows]
    widths = [max(map(_columns, column)) for column in zip(*texts, strict=True)]
    return ["  ".join(map(_filled, row, widths)).rstrip() for row in texts]


def _filled(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: a Chinese sign or an emoji takes two."""
    return sum(1 + (east_asian_width(sign) in "WF") for sign in text)


def cell(value: object) -> str:
    """A value as one line of text."""
    if value is None:
        return "-"
    return plain(value if isinstance(value, str) else orjson.dumps(value).decode())
