"""How a log line looks: one JSON object, or `key=value` text, on standard output.

Web and workers call `configure` once and then use the standard library's loggers;
what a line tells besides its words goes through `fields`. Of an exception the type
and the places are told, never its message: that may quote what a sender sent.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from typing import Any

import orjson

from bridge.plain import plain

STDOUT = 1

DEEPEST = 12
"""Places of a traceback that are told; the innermost ones."""

Render = Callable[[dict[str, Any]], str]


def configure(level: str, form: str, fd: int = STDOUT) -> None:
    """Send what is at least *level* (`INFO`) to *fd* as `json` or `text` lines."""
    # The cheap half of a log line: who called is never told.
    # https://docs.python.org/3/howto/logging.html#optimization
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.raiseExceptions = False
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if isinstance(handler, Lines):
            root.removeHandler(handler)
    root.addHandler(Lines(fd, FORMS[form]))
    root.setLevel(level)


def fields(**values: Any) -> dict[str, Any]:
    """Return the `extra=` of a log call: `LOG.info("delivery", extra=fields(ms=3))`.

    A value that is None is left out.
    """
    return {"fields": {k: v for k, v in values.items() if v is not None}}


class Lines(logging.Handler):
    """Writes each record as one line in one call.

    Without a lock: a line is one `write`, and lines of several processes do not mix
    where they are shorter than a pipe's `PIPE_BUF`.
    """

    def __init__(self, fd: int, render: Render) -> None:
        super().__init__()
        self._fd = fd
        self._render = render

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Do without; see the class."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit, as logging does, but for the lock it takes around that."""
        wanted = bool(self.filter(record))
        if wanted:
            self.emit(record)
        return wanted

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a closed or full output is nobody's error."""
        line = plain(self._render(told(record))).encode()
        try:
            os.write(self._fd, line + b"\n")
        except OSError:
            self.handleError(record)


def told(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record says, in the order of the line."""
    at = datetime.fromtimestamp(record.created, UTC)
    said: dict[str, Any] = {
        "at": f"{at.isoformat(timespec='milliseconds')[:23]}Z",
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": _message(record),
    }
    said |= getattr(record, "fields", {})
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        said |= {"error": type(error).__name__, "where": places(error)}
    return said


def _message(record: logging.LogRecord) -> str:
    """Return a record's words; of RQ's the first line, since a traceback follows."""
    words = record.getMessage()
    return words.partition("\n")[0] if record.name.startswith("rq") else words


def places(error: BaseException) -> list[str]:
    """Return where an error passed, innermost last: `ingest.py:41 receive`."""
    frames = extract_tb(error.__traceback__)[-DEEPEST:]
    return [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames]


def as_json(said: Mapping[str, Any]) -> str:
    """Render as a JSON object; what JSON cannot hold is shown as text."""
    return _dump(said)


def as_text(said: Mapping[str, Any]) -> str:
    """Render for the eye: time, level, message, then `key=value`."""
    pairs = [f"{k}={_word(v)}" for k, v in said.items() if k not in HEAD]
    return " ".join([said["at"], said["level"].upper(), str(said["message"]), *pairs])


def _word(value: Any) -> str:
    """Quote what is no plain word, so that a value cannot pass for another key."""
    word = value if isinstance(value, str) else _dump(value)
    return word if PLAIN.fullmatch(word) else _dump(word)


def _dump(value: Any) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        # A lone surrogate or a number beyond 64 bits: rare, so the dear way.
        return orjson.dumps(ascii(value)).decode()


HEAD = ("at", "level", "logger", "message")
PLAIN = re.compile(r"[\w.:/+-]+", re.ASCII)

FORMS: Mapping[str, Render] = {"json": as_json, "text": as_text}
"""Values of `LOG_FORMAT`."""
