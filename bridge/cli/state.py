"""`export` and `import`: the whole state in a file."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from bridge.cli import Command, opened, program
from bridge.cli.output import as_json, count, note, show
from bridge.errors import BridgeError
from bridge.store import dump

STEP = 10_000
"""A line of progress is printed after this many keys."""

PRIVATE = 0o600

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("export", cls=Command)
@click.argument("file", type=FILE)
@as_json
def export(file: Path) -> None:
    """Write the whole state into FILE, a new one, compressed.

    FILE contains no secrets but personal data, so only its owner may read it. Events may
    come meanwhile; those that come after the export are not in it.

    \b
    Example:
      python -m bridge export state.jsonl.gz
    """
    redis = opened().redis
    number = -1
    with _new(file) as out:
        for number, line in enumerate(dump.export(redis), -1):
            out.write(line)
            if number and number % STEP == 0:
                note(f"{number:,} keys ...")
    data = {"file": str(file), "keys": number, "bytes": file.stat().st_size}
    words = f"{file}: {count(number, 'key')}, {data['bytes']:,} bytes; it contains "
    show(data, lambda _: [f"{words}personal data, only you may read it"])


@contextmanager
def _new(file: Path) -> Iterator[IO[str]]:
    """A new compressed file for its owner alone; removed if it does not become whole."""
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    except FileExistsError:
        raise BridgeError(f"{file} exists already; name another file") from None
    except OSError as error:
        raise BridgeError(f"{file}: {error.strerror}") from None
    try:
        with os.fdopen(number, "wb") as raw, gzip.open(raw, "wt") as out:
            yield out
    except BaseException:
        file.unlink()
        raise


@click.command("import", cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def import_(file: Path) -> None:
    """Fill an empty Redis with the state in FILE, which `export` wrote.

    Start web and worker afterwards. What waited to be written is written then.

    \b
    Example:
      python -m bridge import state.jsonl.gz
    """
    redis = opened().redis
    if not dump.is_empty(redis):
        raise BridgeError(
            "Redis has a state already, and two cannot be merged; nothing is changed"
        )
    try:
        with gzip.open(file, "rt") as lines:
            whole = dump.check(lines)
    except BridgeError as error:
        raise BridgeError(f"{file}: {error}; nothing is changed") from None
    with gzip.open(file, "rt") as lines:
        for done in dump.load(redis, lines):
            if done % STEP == 0:
                note(f"{done:,} of {whole:,} keys ...")
    hint = f"see `{program()} doctor`"
    show({"keys": whole}, lambda _: [f"{count(whole, 'key')} are there; {hint}"])
