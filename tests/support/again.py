"""Runs tests in two parts at a time; those that are red run once more, alone.

`python -m tests.support.again ARGUMENTS OF PYTEST --beside ARGUMENTS OF PYTEST`. The first
part is what measures seconds, and so mostly waits; the second has the time that the first
leaves. What the first prints comes in the end.

That a machine was too busy for one test says nothing about the bridge: a test that is
green with nothing beside it is printed, and is no failure. Whatever else ends pytest stays
red: a file that cannot be collected, a process that crashed, more red tests than `MOST`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

MOST = 10

GIVES_WAY = 10
"""Its `nice`: a tenth of the time of what has the usual one, where both want it."""


class Red:
    """A plugin of pytest that notes what fails, and whether that can be tried again."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.is_broken = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.tests:
            self.tests.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.is_broken |= report.failed

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        self.is_broken |= bool(error)


class Done(NamedTuple):
    """How one part has ended; *status* is 0 also where it had no tests."""

    status: int
    red: list[str]
    is_broken: bool


def main(arguments: Sequence[str]) -> int:
    """Run both parts, and the red tests again; the exit status."""
    place = arguments.index("--beside")
    with (
        TemporaryDirectory() as folder,
        ProcessPoolExecutor(2, get_context("spawn")) as pool,
    ):
        log = Path(folder) / "log"
        first = pool.submit(run, arguments[:place], 0, log)
        rest = pool.submit(run, arguments[place + 1 :], GIVES_WAY)
        done = rest.result(), first.result()
        sys.stdout.write(log.read_text(encoding="utf-8"))
    status = max(one.status for one in done)
    red = [name for one in done for name in one.red]
    if not status or any(one.is_broken for one in done) or len(red) > MOST:
        return status
    sys.stdout.write(f"\n{len(red)} red at first; once more, alone ...\n")
    sys.stdout.flush()
    alone = {name: _runs(name) for name in red}
    for name, is_green in alone.items():
        word = "green" if is_green else "RED"
        sys.stdout.write(f"red at first, {word} alone: {name}\n")
    return 0 if all(alone.values()) else status


def run(arguments: Sequence[str], niceness: int, log: Path | None = None) -> Done:
    """Run one part, in a process of its own, which prints into the file *log*."""
    os.nice(niceness)
    if log:
        with log.open("wb") as output:
            os.dup2(output.fileno(), sys.stdout.fileno())
            os.dup2(output.fileno(), sys.stderr.fileno())
    red = Red()
    status = pytest.main([*arguments], plugins=[red])
    sys.stdout.flush()
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        return Done(0, [], is_broken=False)
    is_broken = red.is_broken or status not in {0, pytest.ExitCode.TESTS_FAILED}
    return Done(int(status), red.tests, is_broken)


def _runs(name: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-m", "", name]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
