"""Logging: one JSON object or one `key=value` text per line, on standard output.

Web and workers call `configure` once and then use the standard library's loggers; data
beside the message goes through `fields`. For an exception, the type and the places are
logged, never the message, because it may quote a sender's data.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from typing import Any

STDOUT = 1

DEEPEST = 12
"""Most places of a traceback that are logged; the innermost ones."""

HEAD = ("at", "level", "logger", "message")
"""Keys that every line has, in this order."""

WORD = re.compile(r"[\w.:/+-]+", re.ASCII)
"""Values that need no quotes in a text line."""

_json = json.JSONEncoder(default=str, ensure_ascii=False, separators=(",", ":")).encode
"""Return a value as JSON; what JSON cannot hold is shown as text."""


def plain(text: str) -> str:
    r"""Return *text* with all that is not printable escaped as in JSON (`\u001b`).

    For whatever others wrote: escapes move a terminal's cursor, line breaks forge lines
    of a log or a table, marks of direction make a text look like another. JSON stays the
    same JSON.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def configure(level: str, form: str, fd: int = STDOUT) -> None:
    """Send what is at least *level* (`INFO`) to *fd* as `json` or `text` lines."""
    logging.raiseExceptions = False  # a closed or full output is nobody's error
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if isinstance(handler.formatter, OneLine):
            root.removeHandler(handler)
    # UTF-8 in any locale.
    handler = logging.StreamHandler(os.fdopen(fd, "w", encoding="utf-8", closefd=False))
    handler.setFormatter(OneLine(form))
    handler.setLevel(level)
    root.addHandler(handler)
    root.setLevel(level)


def fields(**values: Any) -> dict[str, Any]:
    """Return the `extra=` of a log call: `LOG.info("delivery", extra=fields(ms=3))`.

    A value that is None is left out.
    """
    return {"fields": {k: v for k, v in values.items() if v is not None}}


ABOUT: ContextVar[Mapping[str, Any]] = ContextVar("about", default={})  # noqa: B039 (a Mapping is never changed)
"""Fields of every line that this thread logs, until it sets others."""


class OneLine(logging.Formatter):
    """Formats a record as one line, in the *form* `json` or `text`."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without anything that could break it or steer a terminal."""
        line = content(record)
        return plain(_json(line) if self.form == "json" else _text(line))


def content(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the line of a record holds, in its order."""
    at = datetime.fromtimestamp(record.created, UTC)
    message = record.getMessage()
    line: dict[str, Any] = {
        "at": f"{at.isoformat(timespec='milliseconds')[:23]}Z",
        "level": record.levelname.lower(),
        "logger": record.name,
        # RQ appends a traceback, which may quote a sender's data.
        "message": message.partition("\n")[0] if record.name[:2] == "rq" else message,
    }
    line |= {**ABOUT.get(), **getattr(record, "fields", {})}
    if record.exc_info and record.exc_info[1]:
        error = record.exc_info[1]
        line |= {"error": type(error).__name__, "where": places(error)}
    return line


def places(error: BaseException) -> list[str]:
    """Return where an error passed, innermost last: `ingest.py:41 receive`."""
    frames = extract_tb(error.__traceback__)[-DEEPEST:]
    return [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames]


def where(error: BaseException) -> str:
    """Return the error's type, and the last of its places."""
    return " at ".join([type(error).__name__, *places(error)[-1:]])


def _text(line: dict[str, Any]) -> str:
    """Return a line for the eye: time, level, message, then `key=value`."""
    pairs = [f"{key}={_word(line[key])}" for key in line if key not in HEAD]
    return " ".join([line["at"], line["level"].upper(), line["message"], *pairs])


def _word(value: Any) -> str:
    """Quote what is no plain word, so that a value cannot pass for another key."""
    word = value if isinstance(value, str) else _json(value)
    return word if WORD.fullmatch(word) else _json(word)
