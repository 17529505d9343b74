"""What is built is whole: it runs from an empty folder, without the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen
from zipfile import ZipFile

import pytest

from tests.support.processes import (
    ROOT,
    Running,
    environment,
    free_port,
    procfile,
)
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    call("-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that has the wheel and nothing of the repository."""
    folder = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    call(*pip, "--no-warn-script-location", "--target", str(folder), str(wheel))
    return folder


def test_the_wheel_holds_all_files_of_both_packages(wheel: Path) -> None:
    ours = {
        path.relative_to(ROOT).as_posix()
        for package in ("bridge", "workers")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with ZipFile(wheel) as archive:
        held = {n for n in archive.namelist() if not n.startswith("vitally_bridge-")}

    assert ours == held


def test_the_wheel_brings_its_licence(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        assert any(n.endswith("licenses/LICENSE") for n in archive.namelist())


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["bin/vitally-bridge", "--help"], "demo"),
        (["-m", "bridge", "--version"], "0.1"),
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
