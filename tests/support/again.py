"""Runs tests; those that are red run once more, with nothing beside them.

`python -m tests.support.again ARGUMENTS OF PYTEST`. That a machine was too busy for one
test says nothing about the bridge: a test that is green alone is printed, and is no
failure. Whatever else ends pytest stays red: a file that cannot be collected, a process
that crashed, more red tests than `MOST`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

MOST = 10


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


def main(arguments: Sequence[str]) -> int:
    """Run the tests, and the red ones again; the exit status."""
    red = Red()
    status = pytest.main([*arguments], plugins=[red])
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        return 0
    if status != pytest.ExitCode.TESTS_FAILED or red.is_broken or len(red.tests) > MOST:
        return status
    sys.stdout.write(f"\n{len(red.tests)} red at first; once more, alone ...\n")
    sys.stdout.flush()
    alone = {name: _runs(name) for name in red.tests}
    for name, is_green in alone.items():
        word = "green" if is_green else "RED"
        sys.stdout.write(f"red at first, {word} alone: {name}\n")
    return 0 if all(alone.values()) else status


def _runs(name: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-m", "", name]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
