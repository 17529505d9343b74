"""Calling `vitally-bridge` within the test, as a person would type it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import orjson
import pytest
from click.testing import CliRunner

from bridge import cli


class Said(NamedTuple):
    """What a command has printed; bytes that are no text are escaped as surrogates."""

    out: str
    err: str

    @property
    def json(self) -> Any:
        """What was printed with `--json`."""
        return orjson.loads(self.out)

    def line(self, word: str) -> str:
        """The one line of the output that begins with *word*, single-spaced."""
        lines = (" ".join(line.split()) for line in self.out.splitlines())
        (found,) = (line for line in lines if line.startswith(word))
        return found


Run = Callable[..., Said]


def called(
    *words: str,
    environ: Mapping[str, object],
    status: int | Collection[int] | None = 0,
    typed: str = "",
    **more: object,
) -> Said:
    """Call a command; it ends with *status*, or one of them (None: any). *more* are settings beside *environ*."""
    env = {name: str(value) for name, value in {**environ, **more}.items()}
    with (
        CliRunner().isolation(typed, env) as (out, err, _),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["vitally-bridge", *words])
        if typed:  # at a terminal
            patch.setattr(sys.stdin, "isatty", lambda: True)
        code: object = None
        try:
            cli.main()
        except SystemExit as ended:
            # Not kept: its traceback would keep all that the command has opened.
            code = ended.code
        printed = [stream.getvalue() for stream in (out, err)]
    said = Said(*(text.decode(errors="surrogateescape") for text in printed))
    allowed = {status} if isinstance(status, int) else status
    assert allowed is None or (code or 0) in allowed, said
    return said
