"""Calling `python -m bridge`: within the test, or as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping

from click.testing import CliRunner, Result

from bridge.cli import cli
from tests.support.processes import ROOT, environment

Command = Callable[..., Result]
Done = subprocess.CompletedProcess[str]
Process = Callable[..., Done]


def invoked(
    *words: str,
    environ: Mapping[str, str],
    fails: type[BaseException] | None = None,
    typed: str = "",
) -> Result:
    """Call a command here; it raises *fails*, or nothing."""
    result = CliRunner().invoke(cli, words, env=environ, input=typed)
    if fails is None:
        assert result.exception is None, (result.output, result.exception)
    else:
        assert isinstance(result.exception, fails), result.output
    return result


def typed(*words: str, environ: Mapping[str, str], status: int = 0) -> Done:
    """Call a command as a process, which ends with *status* and without a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge", *words],
        cwd=ROOT,
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert status == done.returncode, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def line(result: Result, word: str) -> str:
    """The one line of the output that begins with *word*."""
    (found,) = (
        one for one in result.output.splitlines() if one.strip().startswith(word)
    )
    return " ".join(found.split())
