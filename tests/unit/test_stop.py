"""A stop by signal: it locks nothing up, whatever it interrupts."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from bridge.stop import Stop
from tests.support.processes import ROOT

STORM = """
import signal, time
from bridge.stop import stop_event
stop = stop_event()
signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGTERM))
signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
end = time.monotonic() + 0.5
while time.monotonic() < end:
    stop.set()
    stop.wait(1)
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_signals_that_meet_one_another_lock_nothing_up() -> None:
    """Whoever ends `run` with Ctrl-C sends two: the terminal's, and its parent's."""
    command = [sys.executable, "-c", STORM]

    assert 0 == subprocess.run(command, cwd=ROOT, timeout=20, check=False).returncode


WAIT = "from bridge.stop import stop_event; e = stop_event(); print(1, flush=True); e.wait()"


def test_a_signal_that_comes_again_until_the_end_changes_no_exit_status() -> None:
    """A platform sends it to each process, and a wrapper or the parent again."""
    command, ended = [sys.executable, "-c", WAIT], []
    for _ in range(4):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline()
            while process.poll() is None:
                process.terminate()
        ended.append(process.returncode)

    assert [0] * 4 == ended


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_who_waits_is_woken_by_another_thread(timeout: float | None) -> None:
    stop = Stop()
    threading.Timer(0.05, stop.set).start()

    assert stop.wait(timeout)
    assert stop.is_set()


def test_a_wait_ends_when_its_time_is_over() -> None:
    begun = time.monotonic()

    assert not Stop().wait(0.01)
    assert time.monotonic() - begun < 20
