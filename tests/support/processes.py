"""Real processes: a line of the Procfile or any command, watched and ended by pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bridge.redis_server import free_port as free_port  # noqa: PLC0414 - for tests
from tests.support.waiting import PATIENCE, eventually

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

KEPT = ("PATH", "HOME")
"""Variables of the tests' own process that every other is given."""

DEPLOYED = ROOT / "tests" / "support" / "deployed"
"""Hides what the lock of the tests has, that of a deployment has not, and slows a start."""

ANYWHERE = f"{DEPLOYED}{os.pathsep}{ROOT}"
"""PYTHONPATH of a process that runs in another folder."""

COVERAGE = "COVERAGE_PROCESS_CONFIG"
"""Set by coverage where it measures: a process that is given it counts too."""

STOP_SECONDS = 20.0
"""The contract's limit for an orderly end."""


def procfile(root: Path = ROOT) -> dict[str, str]:
    """Return the command line of each process type in the Procfile."""
    lines = (root / "Procfile").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(":") for line in lines if line.strip())
    return {name.strip(): command.strip() for name, _, command in pairs}


def command_of(process_type: str) -> list[str]:
    """Return a Procfile line as arguments, run by the Python that runs the tests."""
    python, *arguments = procfile()[process_type].split()
    assert "python" == python
    return [sys.executable, *arguments]


def environment(values: Mapping[str, object] | None = None) -> dict[str, str]:
    """Return *values* and the few variables that any process needs, and no others.

    What the developer's own shell has set for a bridge must not reach a test. Who is told
    where traces go has OpenTelemetry, as a deployment then has.
    """
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    said = {name: str(value) for name, value in (values or {}).items()}
    traces = any(name.startswith("OTEL_") for name in said)
    kept |= {} if traces else {"PYTHONPATH": str(DEPLOYED)}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default", **said}


class Running:
    """A process whose output goes to *folder*`/`*name*`.log`; its pid names its group.

    As a context manager it runs inside; on leaving it is ended, with its children.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, object],
        folder: Path,
        name: str = "process",
        cwd: Path = ROOT,
    ) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                list(command),
                env=environment(environ),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """Process id, and the id of its process group."""
        return self.process.pid

    @property
    def output(self) -> str:
        """Everything it has written so far, stdout and stderr in one."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def is_alive(self) -> bool:
        """True while it has not ended."""
        return self.process.poll() is None

    def wait_for(self, text: str, within: float = PATIENCE) -> None:
        """Wait until it has written *text*; AssertionError with what it did write."""

        def written() -> bool:
            return text in self.output or not self.is_alive

        eventually(written, within, what=f"{text!r} in:\n{self.output}")
        assert text in self.output, f"it ended without {text!r}:\n{self.output}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, as a platform does."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it and its children at once (-9)."""
        self._kill_group()
        self.process.wait()

    def terminate(self, within: float = STOP_SECONDS) -> int:
        """Send SIGTERM and return the exit status; AssertionError when it stays."""
        if self.is_alive:
            self.signal(signal.SIGTERM)
        return self.wait(within)

    def wait(self, within: float = STOP_SECONDS) -> int:
        """Return the exit status; AssertionError when it does not end in time."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            message = f"still running after {within:g} s:\n{self.output}"
            raise AssertionError(message) from None

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # it has ended, and its children with it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.terminate()
        finally:
            self._kill_group()
            self.process.wait()


def start(
    process_type: str,
    environ: Mapping[str, object],
    folder: Path,
    *,
    cwd: Path = ROOT,
) -> Running:
    """Start a line of the Procfile; its output goes to a new file of *folder*."""
    name = f"{process_type}-{time.monotonic_ns()}"
    command = command_of(process_type)
    # Only these: in the many short calls of commands it would cost more than it tells.
    measured = {COVERAGE: os.environ[COVERAGE]} if COVERAGE in os.environ else {}
    environ = {**environ, **measured}
    return Running(command, environ=environ, folder=folder, name=name, cwd=cwd)


def end_all(running: Sequence[Running]) -> None:
    """End all of them at once; in order where coverage measures: it writes at an end."""
    if COVERAGE in os.environ:
        for one in running:
            if one.is_alive:
                one.signal(signal.SIGTERM)
        for one in running:
            with suppress(subprocess.TimeoutExpired):
                one.process.wait(3)
    for one in running:
        one.kill()
