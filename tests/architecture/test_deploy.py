"""The image, Redis, the example and the locks agree with the code; see test_platforms.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bridge import sources
from bridge.config import parse, read
from tests.support.processes import ROOT, procfile
from tests.support.server import RedisServer

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
LOCKS = [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]


def test_the_image_runs_the_web_process_without_root() -> None:
    command = json.dumps(procfile()["web"].split())

    assert f"CMD {command}" in DOCKERFILE
    assert re.search(r"^USER (?!root)", DOCKERFILE, flags=re.MULTILINE)


def test_the_image_copies_files_that_there_are() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()

    assert {"bridge", "workers"} <= names
    assert [] == [name for name in names if not (ROOT / name).exists()]
    assert set() == {f"!{name}" for name in names} - set(ignored)


def test_redis_takes_its_configuration_and_neither_forgets_nor_evicts(
    tmp_path: Path, redis_program: Path
) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "maxmemory": str(256 * 1024 * 1024),
    }
    conf = ("--include", str(DEPLOY / "redis.conf"))
    with (
        RedisServer(tmp_path, extra=conf, program=redis_program) as server,
        server.client() as client,
    ):
        found = {name: client.config_get(name)[name] for name in wanted}

    assert wanted == found


def test_the_example_of_bridge_toml_says_the_defaults() -> None:
    without = parse({}, sources.tables)

    assert without == read(str(DEPLOY / "bridge.toml.example"), tables=sources.tables)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_has_a_hash_for_every_package_and_names_no_index(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]

    assert [] == [block for block in blocks if "--hash=sha256:" not in block]
    assert not re.search(r"://|--index|--find-links|--extra", text)


def test_the_locks_agree_with_one_another() -> None:
    run, dev = (
        set(re.findall(r"^[a-z].*==\S+", lock.read_text(), flags=re.MULTILINE))
        for lock in LOCKS
    )

    assert set() == run - dev


def test_the_lock_has_everything_that_the_project_asks_for() -> None:
    """Red? `make lock` writes the locks anew."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    asked = re.findall(r'^\s+"([a-z0-9-]+)[^"]*",? +#', project, flags=re.MULTILINE)
    locked = LOCKS[1].read_text(encoding="utf-8")

    assert "flask" in asked
    assert [] == [name for name in asked if f"\n{name}==" not in locked]
