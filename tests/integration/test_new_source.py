"""`sources new`: what it writes passes the suite that every source passes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.sources.generic import recipes
from tests.support.command import called
from tests.support.processes import ROOT, environment

WRITTEN = ("bridge/sources/acme_pay", "tests/sources/acme_pay.py")
PAID = f"{WRITTEN[0]}/fixtures/subscription.updated__active.json"


def run(checkout: Path, *arguments: str, status: int = 0) -> str:
    """Run a module of Python in a *checkout*; what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=checkout,
        env=environment({"CI": ""}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert status == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_new_source_passes_the_suite_as_it_is_written(tmp_path: Path) -> None:
    for name in ("bridge", "workers", "tests"):  # as they are, compiled
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    run(tmp_path, "bridge", "sources", "new", "acme_pay")

    assert "49" in run(tmp_path, "bridge", "sources", "try", "acme_pay", PAID)
    run(tmp_path, "pytest", "-q", "tests/sources", "-k", "acme_pay or every")
    run(tmp_path, "ruff", "format", "--check", *WRITTEN)
    run(tmp_path, "ruff", "check", "--no-cache", *WRITTEN)
    assert "already" in run(tmp_path, "bridge", "sources", "new", "acme_pay", status=1)


@pytest.mark.parametrize("name", ["Acme", "7up", "class", "a-b", "../x", "stripe"])
def test_a_name_that_cannot_be_one_writes_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in ("bridge/sources/stripe", "tests/sources"):
        (tmp_path / folder).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)

    called("sources", "new", name, environ={}, status=1)

    assert before == sorted(tmp_path.rglob("*"))


def test_without_a_checkout_code_has_nowhere_to_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    said = called("sources", "new", "acme", "--code", environ={}, status=1)

    assert "go to a checkout" in said.err


@pytest.mark.parametrize(
    ("words", "mrr"),
    [((), 147), (("--recipe", "lemonsqueezy"), None), (("--recipe", "orb"), None)],
)
def test_a_new_table_is_tried_with_its_sample(
    words: tuple[str, ...], mrr: int | None, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bridge.toml").write_text("[money]\nweek = 4\n")

    said = called("sources", "new", "acme-pay", *words, environ={}).out

    command = said.splitlines()[-1].partition("vitally-bridge ")[2].split()
    (account,) = called(*command, "--json", environ={}).json["accounts"]
    assert mrr == account["facts_say"].get("mrr")
    assert "ACME_PAY_WEBHOOK_SECRET is not set" in called("sources", environ={}).out
    again = called("sources", "new", "acme-pay", environ={}, status=1)
    assert "has a table for acme-pay already" in again.err


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_becomes_a_table(recipe: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    called("sources", "new", "x", "--recipe", recipe, environ={})

    assert "x " in called("sources", environ={}).out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("Acme",), "not a name"),
        (("stripe",), "not a name"),
        (("a", "--recipe", "padle"), "did you mean paddle?"),
    ],
)
def test_a_table_that_cannot_be_one_is_not_written(
    words, expected, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    assert expected in called("sources", "new", *words, environ={}, status=1).err
    assert [] == [*tmp_path.iterdir()]
