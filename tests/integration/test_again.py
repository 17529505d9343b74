"""A test that is red at first and green alone is no failure; all else is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

FIRST = """
from pathlib import Path

def test_once():
    first = not Path("been").exists()
    Path("been").touch()
    assert not first

def test_fine(): pass
"""
ALWAYS = "def test_it(): assert 1 == 2\n"
UNREADABLE = "import nowhere\n"
CRASH = "import os\n\ndef test_it(): os._exit(1)\n"


@pytest.mark.parametrize(
    ("status", "said", "files"),
    [
        (0, "red at first, green alone: test_0.py::test_once", [FIRST]),
        (1, "red at first, RED alone: test_1.py::test_it", [FIRST, ALWAYS]),
        (2, "ERROR test_1.py", [FIRST, UNREADABLE]),
        (1, "crashed", [CRASH]),
        (0, "no tests ran", []),
    ],
    ids=["green alone", "red again", "unreadable", "crash", "none"],
)
def test_only_what_is_green_alone_is_no_failure(
    tmp_path: Path, status: int, said: str, files: list[str]
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for number, text in enumerate(files):
        (tmp_path / f"test_{number}.py").write_text(text)
    beside = ("-n", "1") if CRASH in files else ()
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.again", *beside],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "-p no:valkey -p no:randomly"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert status == done.returncode, done.stdout + done.stderr
    assert said in done.stdout
