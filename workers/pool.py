"""Several worker processes: started, replaced when they die, ended together."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from time import monotonic

from bridge.log import fields

log = logging.getLogger("workers")

CHILD = "WORKERS_KEPT_BY"
"""In the environment of a process that another one keeps."""

PATIENCE = 18.0
"""Seconds that a stop waits for the processes to finish their writes."""

PR_SET_PDEATHSIG = 1


def die_with_parent() -> bool:
    """Ask the kernel for SIGTERM when the keeping process dies (Linux).

    False where it is dead already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return str(os.getppid()) == os.environ[CHILD]


def keep(processes: int, stop: threading.Event) -> int:
    """Keep *processes* workers until *stop*; return the exit status."""
    running = [_start() for _ in range(processes)]
    while not stop.wait(0.5):
        for place, process in enumerate(running):
            if process.poll() is not None:
                log.error("worker died", extra=fields(status=process.returncode))
                running[place] = _start()
    for process in running:
        process.terminate()
    status, end = 0, monotonic() + PATIENCE
    for process in running:
        try:
            status = status or process.wait(timeout=max(0.1, end - monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            status = 1
    return status


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "workers"]
    return subprocess.Popen(command, env=os.environ | {CHILD: str(os.getpid())})  # noqa: S603 (our own module)
