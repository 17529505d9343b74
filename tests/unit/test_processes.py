"""What the tests use to start processes does not lie about them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.support.processes import Running, command_of, environment, procfile
from tests.support.waiting import eventually

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready")
time.sleep(60)
"""

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(f"child={child.pid}.")
time.sleep(60)
"""


def python(code: str, folder: Path) -> Running:
    return Running([sys.executable, "-c", code], environ={}, folder=folder)


def gone(pid: int) -> bool:
    """True when there is no such process, or only its exit status is left."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_the_procfile_s_lines_run_under_the_python_of_the_tests() -> None:
    lines = {"web": "python -m bridge serve", "worker": "python -m workers"}

    assert lines == procfile()
    assert [sys.executable, "-m", "workers"] == command_of("worker")


def test_a_process_sees_nothing_of_the_developer_s_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://example")
    environ = environment({"PORT": 1})

    assert ("1", False) == (environ["PORT"], "REDIS_URL" in environ)


def test_output_and_exit_status_are_kept(tmp_path: Path) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    with python(code, tmp_path) as running:
        assert 3 == running.wait()
        assert {"out", "err"} == set(running.output.split())
        # Words that never come fail at once.
        with pytest.raises(AssertionError, match="out"):
            running.wait_for("ready", within=15)


def test_a_process_that_ignores_sigterm_is_an_error_and_is_killed(
    tmp_path: Path,
) -> None:
    with python(STUBBORN, tmp_path) as running:
        running.wait_for("ready")
        with pytest.raises(AssertionError, match="still running"):
            running.terminate(within=0.1)
        running.kill()

    assert -signal.SIGKILL == running.process.returncode


def test_the_children_of_a_process_end_with_it(tmp_path: Path) -> None:
    with python(PARENT, tmp_path) as running:
        running.wait_for(".")
        child = int(running.output.partition("=")[2].strip(". \n"))
        running.kill()

    assert eventually(lambda: gone(child))


def test_what_never_comes_true_fails_with_its_own_words() -> None:
    def never() -> bool:
        raise AssertionError("not yet")

    with pytest.raises(AssertionError, match="not yet"):
        eventually(never, within=0)
    with pytest.raises(AssertionError, match="the moon"):
        eventually(lambda: False, within=0, what="the moon")
