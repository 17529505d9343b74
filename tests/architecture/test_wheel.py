"""What `make release` builds is whole: it runs from an empty folder, without the repository.

The script compares the contents with what git knows; what it must refuse is tried here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from urllib.request import urlopen
from zipfile import ZipFile

import pytest

from bridge import __version__
from tests.support.processes import (
    ROOT,
    Running,
    environment,
    free_port,
    procfile,
)
from tests.support.pythons import VERSIONS
from tests.support.server import RedisServer
from tests.support.waiting import eventually

EXAMPLE = {"VITALLY_API_KEY": "example", "VITALLY_BASE_URL": "http://127.0.0.1:9"}


def call(*command: str, cwd: Path = ROOT, **said: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment(said),
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


GIT = ("git", "-c", "user.name=ada", "-c", "user.email=ada@example.com")


def known() -> list[str]:
    """The files that git knows."""
    listed = subprocess.check_output(("git", "ls-files"), cwd=ROOT, text=True)
    return listed.splitlines()


class Tree:
    """A repository of its own, with one commit of these files of this one."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.folder = folder
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        changelog = folder / "CHANGELOG.md"
        text = changelog.read_text(encoding="utf-8")
        changelog.write_text(f"{text}\n## [{__version__}] - 2026-01-01\n")
        self.git("init", "--quiet")
        self.commit()

    def git(self, *words: str) -> None:
        subprocess.run((*GIT, *words), cwd=self.folder, check=True)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "All")

    def release(self) -> subprocess.CompletedProcess[str]:
        """Build, without the step that installs from the package index."""
        return subprocess.run(
            (sys.executable, ".ci/release.py"),
            cwd=self.folder,
            env=environment({}),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return Tree(tmp_path_factory.mktemp("tree"), known())


@pytest.fixture(scope="module")
def dist(tree: Tree) -> Path:
    """What `make release` makes."""
    done = tree.release()

    assert 0 == done.returncode, done.stderr
    assert f"git tag --sign v{__version__}" in done.stdout
    sums = ("sha256sum", "--check", "--quiet", "SHA256SUMS")
    subprocess.run(sums, cwd=tree.folder / "dist", check=True)
    return tree.folder / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that has the wheel and nothing of the repository."""
    folder = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    call(*pip, "--no-warn-script-location", "--target", str(folder), str(wheel))
    return folder


def test_the_wheel_brings_its_types_and_what_send_delivers_and_no_expected_facts(
    wheel: Path,
) -> None:
    with ZipFile(wheel) as archive:
        held = set(archive.namelist())

    assert {"bridge/py.typed", "workers/py.typed"} <= held
    folder = "bridge/sources/stripe/fixtures/customer.created__named"
    assert (True, False) == (f"{folder}.json" in held, f"{folder}.facts.json" in held)
    assert not [name for name in held if name.startswith("tests/")]


def test_what_is_not_committed_or_not_in_the_changelog_is_not_released(
    tmp_path: Path,
) -> None:
    tree = Tree(tmp_path, [".ci/release.py", "CHANGELOG.md", "bridge/__init__.py"])
    changelog = tree.folder / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    changelog.write_text(text.replace(f"[{__version__}]", "[9.9.9]"))

    said = tree.release()
    assert (1, True) == (said.returncode, "CHANGELOG.md" in said.stderr)
    assert "commit first" in said.stderr

    tree.commit()
    said = tree.release()
    assert 1 == said.returncode
    assert f"has no section '## [{__version__}] - " in said.stderr
    assert not (tree.folder / "dist").exists()


def test_the_version_is_written_in_one_place() -> None:
    """All else reads it; the changelog has its history."""
    named = re.compile(rf"(?<![\w.]){re.escape(__version__)}(?![\w.])")
    found = [
        name
        for name in known()
        if name.endswith((".py", ".toml", ".json", ".yaml", ".yml", "file"))
        and named.search((ROOT / name).read_text(encoding="utf-8"))
    ]

    assert ["bridge/__init__.py"] == found


def test_the_package_says_on_which_pythons_it_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = re.findall(r":: (3\.\d+)'", str(project["classifiers"]))

    assert [*VERSIONS] == said
    assert f">={VERSIONS[0]}" == project["requires-python"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["bin/vitally-bridge", "--help"], "demo"),
        (["-m", "bridge", "--version"], __version__),
    ],
    ids=["help", "version"],
)
def test_the_installed_command_says_what_it_can_and_is(
    installed: Path, tmp_path: Path, command: list[str], said: str
) -> None:
    words = [str(installed / w) if w.startswith("bin/") else w for w in command]

    assert said in call(*words, cwd=tmp_path, PYTHONPATH=str(installed))


def start(process_type: str, installed: Path, folder: Path, **said: object) -> Running:
    """Start a Procfile line in *folder*, which has nothing of the repository."""
    command = [sys.executable, *procfile()[process_type].split()[1:]]
    environ = {"PYTHONPATH": installed, **said}
    return Running(command, environ=environ, folder=folder, cwd=folder)


@pytest.mark.parametrize("process_type", ["web", "worker"])
def test_a_process_without_settings_names_what_it_needs_and_ends_with_78(
    process_type: str, installed: Path, tmp_path: Path
) -> None:
    with start(process_type, installed, tmp_path) as running:
        assert 78 == running.wait(), running.output
        assert "REDIS_URL" in running.output
        assert "VITALLY_API_KEY" in running.output
        assert "Traceback" not in running.output


@pytest.mark.parametrize("process_type", ["web", "worker"])
def test_an_installed_process_starts_and_ends_when_told(
    process_type: str, installed: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    port = free_port()
    environ = {**EXAMPLE, "REDIS_URL": redis_server.url, "PORT": port}
    with start(process_type, installed, tmp_path, **environ) as running:
        if process_type == "web":
            health = f"http://127.0.0.1:{port}/healthz"
            with eventually(lambda: urlopen(health, timeout=2)) as reply:
                assert 200 == reply.status
        else:
            running.wait_for("worker starts")

        assert 0 == running.terminate(), running.output
