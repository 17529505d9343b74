"""Generates the tables of README.md and the file deploy/env.example from the code.

`python -m bridge.docs README.md deploy/env.example` rewrites both: in Markdown only what
is between `<!-- begin: NAME -->` and `<!-- end: NAME -->`, any other file completely.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bridge import sources
from bridge.domain.traits import TABLE
from bridge.settings import OPTIONS, Option, meaning
from bridge.sources import discover

REGION = "<!-- begin: {0} -->\n{1}<!-- end: {0} -->"
ANY_REGION = re.compile(r"<!-- begin: (\w+) -->\n.*?<!-- end: \1 -->", flags=re.DOTALL)

HEADING = """\
# Every setting of the bridge; written by `make format`, see README.md.
# A line without `#` must be filled in. Any secret may come as NAME_FILE=/path instead.
"""


Row = tuple[str, ...]


def options() -> tuple[Option, ...]:
    """Return the bridge's own options and then the sources', each name once."""
    every = [*OPTIONS, *sources.options()]
    return tuple({option.name: option for option in every}.values())


def table(heading: Row, rows: Iterable[Row]) -> str:
    """Render *rows* of cells below their *heading* in Markdown."""
    lines = (heading, ("---",) * len(heading), *rows)
    cells = ([" ".join(cell.split()).replace("|", "\\|") for cell in x] for x in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def settings_table() -> str:
    """Render one line for each environment variable."""
    rows = (
        (f"`{o.name}`", meaning(o) + (" *Secret.*" if o.secret else ""), _default(o))
        for o in options()
    )
    return table(("name", "meaning", "default"), rows)


def events_table() -> str:
    """Render one line for each type of event that a source handles."""
    rows = (
        (source.title, f"`{kind}`", handler.meaning)
        for source in discover().values()
        for kind, handler in source.handlers.items()
    )
    return table(("source", "event", "what for"), rows)


def traits_table() -> str:
    """Render one line for each trait that is written."""
    rows = ((f"`{name}`", trait.meaning) for name, trait in TABLE.items())
    return table(("trait", "value"), rows)


def environment() -> str:
    """Render `deploy/env.example`: each variable with its meaning above it."""
    return HEADING + "".join(
        f"\n# {meaning(o)}\n{'' if o.required else '#'}{o.name}={_text(o)}\n"
        for o in options()
    )


def _default(option: Option) -> str:
    default = "\u2013" if option.default is None else f"`{_text(option)}`"
    return "required" if option.required else option.shown or default


def _text(option: Option) -> str:
    """Spell a default as the variable would: `true`, not `True`."""
    value = "" if option.default is None else option.default
    return str(value).lower() if isinstance(value, bool) else str(value)


TABLES = {"traits": traits_table, "settings": settings_table, "events": events_table}
"""Name of a region -> the function that makes its content."""


def refreshed(text: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """Return *text* (Markdown) with the region of each of the *tables* written anew."""

    def region(old: re.Match[str]) -> str:
        name = old[1]
        return REGION.format(name, tables[name]()) if name in tables else old[0]

    return ANY_REGION.sub(region, text)


def main(
    names: Iterable[str], tables: Mapping[str, Callable[[], str]] = TABLES
) -> None:
    """Write the files of these *names* anew, in Markdown the regions of *tables*."""
    for path in map(Path, names):
        is_markdown = path.suffix == ".md"
        text = (
            refreshed(path.read_text("utf-8"), tables) if is_markdown else environment()
        )
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
