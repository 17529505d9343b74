"""The files under deploy/ (and app.json) agree with the code that they run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bridge import docs, sources
from bridge.config import parse, read
from tests.support.processes import ROOT, procfile
from tests.support.server import RedisServer

DEPLOY = ROOT / "deploy"
APP = json.loads((ROOT / "app.json").read_text(encoding="utf-8"))
COMPOSE = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
LOCKS = [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]

NAMES = {option.name for option in docs.options()}


def test_heroku_s_app_asks_for_settings_that_there_are() -> None:
    assert set() == set(APP["env"]) - NAMES


def test_heroku_s_app_asks_for_all_that_the_add_on_does_not_bring() -> None:
    required = {option.name for option in docs.options() if option.required}

    assert set() == required - set(APP["env"]) - {"REDIS_URL"}
    assert ["heroku-redis"] == [a["plan"].partition(":")[0] for a in APP["addons"]]


def test_heroku_s_app_takes_values_that_the_settings_take() -> None:
    parse = {option.name: option.parse for option in docs.options()}
    for name, entry in APP["env"].items():
        if "value" in entry:
            parse[name](entry["value"])
    assert "false" == APP["env"]["REDIS_TLS_VERIFY"]["value"]


def test_heroku_s_app_has_the_form_of_its_schema() -> None:
    """https://devcenter.heroku.com/articles/app-json-schema."""
    known = {"description", "value", "required", "generator"}

    assert set() == {key for entry in APP["env"].values() for key in entry} - known
    assert all(entry["description"] for entry in APP["env"].values())
    assert set(procfile()) == set(APP["formation"])


@pytest.mark.parametrize("process_type", ["web", "worker"])
def test_compose_runs_the_lines_of_the_procfile(process_type: str) -> None:
    command = ", ".join(procfile()[process_type].split())

    assert f"command: [{command}]" in COMPOSE


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
