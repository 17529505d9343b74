"""Runs child processes: starts them, replaces those that die, ends all together."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from time import monotonic

from bridge.errors import EXIT_CONFIG
from bridge.log import fields

log = logging.getLogger("bridge.keep")

POLL = 0.5
"""Seconds between checks of the processes."""

PATIENCE = 18.0
"""Seconds that a stop waits for the processes to finish their work."""

PR_SET_PDEATHSIG = 1


def keep(
    modules: Sequence[Sequence[str]], stop: threading.Event, **environ: str
) -> int:
    """Run `python -m` with each of *modules* until *stop*; return the exit status.

    One that dies is started again. Where one finds its settings wrong, all end with
    EXIT_CONFIG. *environ* is added to their environment.
    """
    start = partial(_start, environ={**os.environ, **environ})
    running = [start(module) for module in modules]
    wrong = False
    while not wrong and not stop.wait(POLL):
        for place, process in enumerate(running):
            status = process.poll()
            wrong = wrong or status == EXIT_CONFIG
            if status is not None and not wrong:
                name = modules[place][0]
                log.error("process died", extra=fields(name=name, status=status))
                running[place] = start(modules[place])
    return _end(running, EXIT_CONFIG if wrong else 0)


def _start(
    module: Sequence[str], environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, "-m", *module],
        env=environ,
        preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509 - no threads yet
    )


def _die_with(parent: int) -> None:
    """Have the kernel send SIGTERM when the *parent* dies, by `kill -9` too (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(0)


def _end(running: Sequence[subprocess.Popen[bytes]], status: int) -> int:
    """End all of *running*; the first exit status that is not 0, *status* before theirs."""
    for process in running:
        process.terminate()
    end = monotonic() + PATIENCE
    for process in running:
        try:
            ended = process.wait(timeout=max(0.1, end - monotonic()))
            # Killed by it, before Python ran a line of ours: there was nothing to finish.
            status = status or (0 if ended == -signal.SIGTERM else ended)
        except subprocess.TimeoutExpired:
            process.kill()
            status = status or 1
    return status
