"""Every command of the documentation works as it is written, however it is installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.processes import ROOT
from tests.support.pythons import (
    RUNNING,
    Environment,
    Installed,
    checkout,
    environment,
)
from tests.support.server import RedisServer

PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("deploy/*.md")),
    *sorted(ROOT.glob("bridge/sources/*/README.md")),
]

BRIDGE = "python -m bridge"
STAYS = ("demo", "serve", "simulator")
"""Commands that do not end by themselves."""

NO_SETTINGS = 78


def written(begin: str) -> list[str]:
    """Every line of the pages that begins with *begin*, in a block or in a sentence."""
    found: dict[str, None] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            lines = (line.strip() for line in block.splitlines())
            found |= dict.fromkeys(line for line in lines if line.startswith(begin))
        found |= dict.fromkeys(re.findall(rf"`({begin}[^`\n]*)`", text))
    return list(found)


LINES = written(BRIDGE)


PAYLOAD = {
    "id": "evt_1",
    "type": "subscription.changed",
    "sent_at": "2026-03-01T12:00:00Z",
    "data": {
        "id": "sub_1",
        "customer_id": "cus_1",
        "state": "live",
        "currency": "EUR",
        "renews_at": "2026-04-01T00:00:00Z",
        "price_cents": 900,
        "seats": 3,
        "per": "month",
    },
}
"""What the README's shop posts."""


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
    """Lay out what the lines name: the README's own table, and a payload."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(
        r"<!-- example: generic -->\n```toml\n(.*?)```", readme, re.DOTALL
    )
    (folder / "bridge.toml").write_text(table, encoding="utf-8")
    (folder / "payload.json").write_bytes(json.dumps(PAYLOAD).encode())
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

    def sources(name: str) -> Path:
        return checkout(tmp_path_factory.mktemp(name) / "app")

    return {
        "buildpack": Way(ready(sources("buildpack")), on_path(installed(RUNNING))),
        "wheel": Way(ready(tmp_path_factory.mktemp("elsewhere")), on_path(wheel)),
        "checkout": Way(ready(made), ". .venv/bin/activate"),
    }


WAYS = ("buildpack", "wheel", "checkout")


@pytest.mark.parametrize("way", WAYS)
def test_every_line_of_the_pages_is_understood(way: str, ways: dict[str, Way]) -> None:
    """It ends well, or only for want of settings."""

    def wrong(line: str) -> str:
        typed = line.replace(f"{BRIDGE} …", f"{BRIDGE} --help")
        typed += " --help" if set(STAYS) & set(typed.split()) else ""
        done = ways[way].type(typed)
        well = done.returncode in {0, NO_SETTINGS} and "Traceback" not in done.stderr
        return "" if well else f"{line}: {done.returncode} {done.stderr}"

    with ThreadPoolExecutor(4) as shells:
        found = list(shells.map(wrong, LINES))

    assert [] == [*filter(None, found)]
    assert 15 < len(LINES)


@pytest.mark.parametrize("way", WAYS)
def test_the_version_and_the_help_say_how_it_was_called(
    way: str, ways: dict[str, Way]
) -> None:
    assert "vitally-bridge 0.1.0\n" == ways[way].type(f"{BRIDGE} --version").stdout
    assert f"Usage: {BRIDGE} why" in ways[way].type(f"{BRIDGE} why --help").stdout


@pytest.mark.parametrize("way", ["wheel", "checkout"])
def test_the_short_command_is_there_and_says_its_own_name(
    way: str, ways: dict[str, Way]
) -> None:
    said = ways[way].type("vitally-bridge why --help").stdout

    assert "Usage: vitally-bridge why" in said
    assert "    vitally-bridge why acme-101" in said
    assert BRIDGE not in said


READ = ("status", "held", "parked", "quarantine list", "sources")
"""What reads Redis, or nothing."""


@pytest.mark.parametrize("line", READ)
def test_what_reads_wants_to_know_where_redis_is_and_no_more(
    line: str, ways: dict[str, Way], redis_server: RedisServer
) -> None:
    done = ways["checkout"].type(f"{BRIDGE} {line}", REDIS_URL=redis_server.url)

    assert (0, "") == (done.returncode, done.stderr)


def test_an_account_that_is_not_there_is_said_in_words(
    ways: dict[str, Way], redis_server: RedisServer
) -> None:
    why = f"{BRIDGE} why acme-101"
    done = ways["buildpack"].type(why, REDIS_URL=redis_server.url)

    assert 1 == done.returncode
    assert "acme-101: no such account or party here" in done.stderr
    assert f"`{BRIDGE} held`" in done.stderr


def test_without_the_address_of_redis_that_is_what_is_said(
    ways: dict[str, Way],
) -> None:
    done = ways["wheel"].type("vitally-bridge status")

    assert NO_SETTINGS == done.returncode
    assert "REDIS_URL is required" in done.stderr
    assert "VITALLY" not in done.stderr


def test_every_target_of_the_pages_is_one_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {line.split()[1] for line in written("make ")}

    assert {"demo", "test", "check"} <= named
    assert set() == named - set(re.findall(r"^\.PHONY: (\w+)$", makefile, re.MULTILINE))
