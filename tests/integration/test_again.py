"""A test that is red at first and green alone is no failure; all else is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.again import GIVES_WAY
from tests.support.processes import ROOT

FIRST = f"""
import os
from pathlib import Path

def test_once():
    first = not Path("been").exists()
    Path("been").touch()
    assert not first

def test_it_has_the_time_that_it_wants():
    assert {os.nice(0)} == os.nice(0)
"""
GIVING_WAY = f"import os\n\ndef test_it(): assert {GIVES_WAY} == os.nice(0)\n"
ALWAYS = "def test_it(): assert 1 == 2\n"
UNREADABLE = "import nowhere\n"
CRASH = "import os\n\ndef test_it(): os._exit(1)\n"


@pytest.mark.parametrize(
    ("status", "said", "files", "options"),
    [
        (0, "red at first, green alone: test_0.py::test_once", [FIRST, GIVING_WAY], ""),
        (1, "red at first, RED alone: test_1.py::test_it", [FIRST, ALWAYS], ""),
        (2, "ERROR test_1.py", [FIRST, UNREADABLE], ""),
        (1, "crashed", [CRASH, GIVING_WAY], "-n 1"),
        (0, "1 deselected", [CRASH, CRASH], "-k nothing"),
    ],
    ids=["green alone", "red again", "unreadable", "crash", "none"],
)
def test_only_what_is_green_alone_is_no_failure(
    tmp_path: Path, status: int, said: str, files: list[str], options: str
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for number, text in enumerate(files):
        (tmp_path / f"test_{number}.py").write_text(text)
    arguments = f"{options} test_0.py --beside {options} test_1.py".split()
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.again", *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "-p no:valkey -p no:randomly"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert status == done.returncode, done.stdout + done.stderr
    assert said in done.stdout
    assert 2 <= done.stdout.count("test session starts")
