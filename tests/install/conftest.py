"""What is installed once for all tests here: the lock, for each Python there is."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.support.index import Index
from tests.support.processes import ROOT
from tests.support.pythons import (
    RUNNING,
    Environment,
    Installed,
    checkout,
    environment,
    interpreter,
)


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """An index that has newer releases of all that is locked."""
    return Index(tmp_path_factory.mktemp("index"), sorted(ROOT.glob("require*.txt")))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Make, once, what Heroku makes: an environment of `requirements.txt` alone.

    These are real installations: they take the packages from pip's cache or its index.
    """
    folder = tmp_path_factory.mktemp("installed")

    @cache
    def install(version: str) -> Environment:
        python = interpreter(version)
        if python is None:
            pytest.skip(f"no Python {version} that can be used is on the PATH")
        made = environment(python, folder / version)
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        lock = ROOT / "requirements.txt"
        try:
            # Nobody runs these for long: compiling them would take longer.
            made.run(*pip, "--no-compile", "--requirement", lock, cwd=folder)
        except AssertionError as error:
            if "CI" not in os.environ and "No matching distribution" in str(error):
                pytest.skip("pip's index does not answer")
            raise
        return made

    return install


@pytest.fixture(scope="session")
def running() -> str:
    """The Python that runs the tests."""
    return RUNNING


@pytest.fixture(scope="session")
def made(
    index: Index, installed: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkout after `make`: its .venv is made as the Makefile makes it.

    Its packages come empty from the index of the tests; what they are for is borrowed
    from the real installation.
    """
    folder = checkout(tmp_path_factory.mktemp("checkout") / "a bridge")
    lock = index.lock("requirements-demo.txt")
    (folder / lock.name).write_text(lock.read_text(), encoding="utf-8")
    own = {"PYTHON": interpreter(RUNNING) or "", "HOME": str(folder)}
    subprocess.run(
        [".ci/venv", ".venv", lock.name],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **own, **index.environ},
        check=True,
    )
    Environment(folder / ".venv").borrow(installed(RUNNING))
    return folder
