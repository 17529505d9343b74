"""`sources new`: what it writes passes the suite that every source passes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge import cli
from tests.support.processes import ROOT, environment

WRITTEN = ("bridge/sources/acme_pay", "tests/sources/acme_pay.py")
PAID = "bridge/sources/acme_pay/fixtures/subscription.updated__active.json"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a module of Python in a checkout of its own."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("bridge", "workers", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path,
            env=environment({"CI": "", "PYTHONDONTWRITEBYTECODE": 1}),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def status(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Call a command here; with what status it ends."""

    def status(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["vitally-bridge", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return status


def test_a_new_source_passes_the_suite_as_it_is_written(run: Run) -> None:
    done = run("bridge", "sources", "new", "acme_pay")
    told = run("bridge", "sources", "try", "acme_pay", PAID)
    passed = run("pytest", "-q", "tests/sources", "-k", "acme_pay or every")
    form = run("ruff", "format", "--check", *WRITTEN)
    style = run("ruff", "check", "--no-cache", *WRITTEN)

    assert 0 == done.returncode, done.stderr
    assert 0 == told.returncode, told.stderr
    assert "49" in told.stdout
    assert 0 == passed.returncode, passed.stdout
    assert (0, 0) == (form.returncode, style.returncode), style.stdout
    assert "already" in run("bridge", "sources", "new", "acme_pay").stderr


@pytest.mark.parametrize("name", ["Acme", "7up", "class", "a-b", "../x", "stripe"])
def test_a_name_that_cannot_be_one_writes_nothing(
    name: str,
    status: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "bridge/sources/stripe").mkdir(parents=True)
    (tmp_path / "tests/sources").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)

    assert 1 == status("sources", "new", name)
    assert before == sorted(tmp_path.rglob("*"))


def test_without_a_checkout_it_says_where_to_go(
    status: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert 1 == status("sources", "new", "acme")
    assert "go to a checkout" in capsys.readouterr().err
