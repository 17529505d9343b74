"""The Pythons that are on this machine, and environments made with them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import ROOT

VERSIONS = ("3.11", "3.12", "3.13")
"""Those that the bridge promises to run on."""

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"

PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"

SHIPPED = (
    *("bridge", "workers", "deploy", ".ci", "Makefile", "Procfile", "pyproject.toml"),
    *("README.md", "LICENSE", ".python-version", "requirements.txt"),
)
"""What a checkout has that an installation may look at."""


@cache
def interpreter(version: str) -> str | None:
    """A Python of *version* that can make environments; None: there is none.

    A name on the PATH may be a version manager's, with nothing behind it: each is
    asked.
    """
    name = f"python{version}"
    named = [Path(place) / name for place in os.get_exec_path()]
    own = [Path(sys.executable)] if version == RUNNING else []
    for path in (*own, *named):
        if path.is_file() and version == output(path, "-c", PROBE):
            return str(path)
    return None


def output(*command: str | Path) -> str:
    """What *command* prints; "" where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else ""


class Environment(NamedTuple):
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        """Where its packages are."""
        (found,) = self.folder.glob("lib/python3.*/site-packages")
        return found

    def run(
        self, *arguments: str | Path, cwd: Path, environ: dict[str, str] | None = None
    ) -> str:
        """Run its Python; its output. AssertionError where it fails."""
        done = subprocess.run(
            [str(self.python), *(str(part) for part in arguments)],
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout

    def borrow(self, other: Environment) -> None:
        """Let it import what *other* has as well."""
        (self.site / "borrowed.pth").write_text(f"{other.site}\n", encoding="utf-8")


Installed = Callable[[str], Environment]
"""Returns the environment of a version that has `requirements.txt` alone."""


def environment(python: str, folder: Path, *options: str) -> Environment:
    """Make a virtual environment with *python* in *folder*."""
    command = [python, "-m", "venv", *options, str(folder)]
    subprocess.run(command, check=True, cwd=ROOT)
    return Environment(folder)


def checkout(folder: Path) -> Path:
    """Copy what is shipped into *folder*, and nothing that was made there."""
    folder.mkdir()
    unwanted = shutil.ignore_patterns("__pycache__")
    for path in (ROOT / name for name in SHIPPED):
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=unwanted)
        else:
            shutil.copy(path, folder)
    return folder


class Pin(NamedTuple):
    """One line of a lock file, without its hashes."""

    name: str
    extras: frozenset[str]
    version: str
    marker: str


PINNED = re.compile(r"([a-z0-9-]+)(?:\[([a-z0-9,-]+)\])?==([^\s;]+)(?: ; ([^\\\n]+))?")


def pins(lock: Path) -> list[Pin]:
    """Return what *lock* pins."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    found = (PINNED.match(line) for line in lines)
    return [
        Pin(name, frozenset((extras or "").split(",")) - {""}, version, marker or "")
        for name, extras, version, marker in (m.groups() for m in found if m)
    ]
