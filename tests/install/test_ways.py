"""Every command of the documentation works as it is written, however it is installed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from bridge import __version__
from tests.support.command import called
from tests.support.pages import blocks, commands
from tests.support.processes import ROOT
from tests.support.pythons import (
    RUNNING,
    Environment,
    Installed,
    checkout,
    environment,
)

BRIDGE = "python -m bridge"
GROUPS = ("accounts", "quarantine", "sources")
ASKED = ("demo", "serve", "simulator", "send", "new", "import")
"""Commands of which only the help is asked for: they do not end by themselves, need a
bridge or a file that is there, or change the folder."""

NO_SETTINGS = 78


LINES = commands(BRIDGE)


def name_of(line: str) -> tuple[str, ...]:
    """The name of the command that *line* calls."""
    first, *rest = *line.removeprefix(BRIDGE).split(), ""
    return (first, rest[0]) if first in GROUPS else (first,)


FIRST = {name_of(line): line for line in reversed(LINES)}.values()
"""A line of each command."""


def asked(line: str) -> str:
    """*line* as it can be typed here."""
    typed = line.replace(f"{BRIDGE} …", f"{BRIDGE} --help")
    return f"{typed} --help" if set(ASKED) & set(typed.split()) else typed


class Way(NamedTuple):
    """A way of installing: the folder where one types, and what has been typed."""

    folder: Path
    before: str

    def type(self, line: str, **said: str) -> subprocess.CompletedProcess[str]:
        """Type *line* into a shell that knows nothing of the tests."""
        return subprocess.run(
            ["/bin/sh", "-c", f"{self.before}\n{line}"],
            cwd=self.folder,
            env={"PATH": os.defpath, "HOME": str(self.folder), **said},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def ready(folder: Path) -> Path:
    """Lay out what the lines name: the tables of docs/sources.md, and its payload."""
    page = ROOT / "docs" / "sources.md"
    (folder / "bridge.toml").write_text("".join(blocks(page, "toml")), encoding="utf-8")
    (folder / "payload.json").write_text(*blocks(page, "json"))
    return folder


@pytest.fixture(scope="session")
def wheel(
    installed: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """The lock, and the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    subprocess.run([sys.executable, *build], cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    real = installed(RUNNING)
    made = environment(str(real.python), folder / "venv", "--without-pip")
    made.borrow(real)
    pip = ("-m", "pip", "--python", made.python, "install", "--quiet")
    real.run(*pip, "--no-index", "--no-deps", "--no-compile", built, cwd=folder)
    return made


@pytest.fixture(scope="session")
def ways(
    made: Path,
    wheel: Environment,
    installed: Installed,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Way]:
    """The three ways; on each, `python` is the one that has the packages."""

    def on_path(made: Environment) -> str:
        return f"PATH='{made.folder / 'bin'}':$PATH"

    app = checkout(tmp_path_factory.mktemp("buildpack") / "app")
    return {
        "buildpack": Way(ready(app), on_path(installed(RUNNING))),
        "wheel": Way(ready(tmp_path_factory.mktemp("elsewhere")), on_path(wheel)),
        "checkout": Way(ready(made), ". .venv/bin/activate"),
    }


@pytest.mark.parametrize("turn", range(3))
def test_a_line_of_each_command_is_understood(turn, ways):
    """It ends well, or only for want of settings; each way has every third line."""

    def wrong(line: str) -> str:
        done = [*ways.values()][turn].type(asked(line))
        well = done.returncode in {0, NO_SETTINGS} and "Traceback" not in done.stderr
        return "" if well else f"{line}: {done.returncode} {done.stderr}"

    first, *rest = [*FIRST][turn::3]
    with ThreadPoolExecutor(4) as shells:
        # The first compiles what the others share.
        found = [wrong(first), *shells.map(wrong, rest)]

    assert [] == [*filter(None, found)]
    assert 35 < len(FIRST)


def test_every_other_line_of_the_pages_is_understood(tmp_path, monkeypatch):
    """The same, all called by one process."""
    monkeypatch.chdir(ready(tmp_path))
    monkeypatch.delenv("REDIS_URL", raising=False)
    others = [line for line in LINES if line not in FIRST]
    for line in others:
        words = shlex.split(asked(line), comments=True)[3:]
        called(*words, environ={}, status={0, NO_SETTINGS})

    assert 40 < len(others)


def test_the_version_and_the_help_say_how_it_was_called(ways):
    """The short command comes with the wheel and with `make`."""
    for name, way in ways.items():
        assert (
            f"vitally-bridge {__version__}\n" == way.type(f"{BRIDGE} --version").stdout
        )
        for typed in (BRIDGE,) if name == "buildpack" else (BRIDGE, "vitally-bridge"):
            said = way.type(f"{typed} why --help").stdout
            assert f"Usage: {typed} why" in said
            assert f"    {typed} why acme-101" in said
            assert typed == BRIDGE or BRIDGE not in said


def test_what_reads_wants_to_know_where_redis_is_and_no_more(ways, redis_server):
    """Redis, or nothing; an account that is not there is said in words."""
    for line in ("status", "held", "parked", "quarantine list", "sources"):
        done = ways["checkout"].type(f"{BRIDGE} {line}", REDIS_URL=redis_server.url)
        assert (0, "") == (done.returncode, done.stderr)
    why = f"{BRIDGE} why acme-101"
    done = ways["buildpack"].type(why, REDIS_URL=redis_server.url)

    assert 1 == done.returncode
    assert "acme-101: no such account or party here" in done.stderr
    assert f"`{BRIDGE} held`" in done.stderr
    done = ways["wheel"].type("vitally-bridge status")
    assert NO_SETTINGS == done.returncode
    assert "REDIS_URL is required" in done.stderr
    assert "VITALLY" not in done.stderr


def test_every_target_of_the_pages_is_one_of_make():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {line.split()[1] for line in commands("make ")}

    assert {"demo", "test", "check"} <= named
    assert set() == named - set(re.findall(r"^\.PHONY: (\w+)$", makefile, re.MULTILINE))
