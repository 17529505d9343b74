"""What docs/deploy.md and the Dockerfile say is done here, in a clean folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.support.index import Index
from tests.support.processes import ROOT, Running, free_port, procfile
from tests.support.pythons import (
    RUNNING,
    Environment,
    Installed,
    checkout,
    interpreter,
)
from tests.support.server import RedisServer
from tests.support.waiting import eventually

EXAMPLE = {"VITALLY_API_KEY": "example", "VITALLY_BASE_URL": "http://127.0.0.1:9"}

HARMLESS = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
"""Before a command of root's: it may then no more than the files' modes say."""


def lives(python: Path, folder: Path, environ: dict[str, object]) -> None:
    """Wait until web and worker pass the health check of a container."""
    check = [str(python), "-m", "bridge", "alive", "web", "worker"]
    said = {name: str(value) for name, value in environ.items()}

    def passes() -> bool:
        done = subprocess.run(check, cwd=folder, env=said, check=False)
        return 0 == done.returncode

    eventually(passes, what="a healthy web and worker")


def test_a_shop_on_one_dyno_changes_one_line(
    installed: Installed, redis_server: RedisServer, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"`(sed -i\.bak [^&]*) && git", page)
    app, port = checkout(tmp_path / "app"), free_port()
    subprocess.run(["/bin/sh", "-c", line], cwd=app, check=True)
    lines = procfile(app)
    assert procfile() | {"web": "python -m bridge run"} == lines

    python = installed(RUNNING).python
    command = [str(python), *lines["web"].split()[1:]]
    environ = {**EXAMPLE, "REDIS_URL": redis_server.url, "PORT": port}
    with Running(command, environ=environ, folder=tmp_path, cwd=app) as running:
        running.wait_for("web worker ready")
        running.wait_for("worker starts")
        lives(python, app, environ)
        assert 0 == running.terminate(), running.output


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with what follows it."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "")
    lines = (line for line in text.splitlines() if line.strip())
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def built(folder: Path, index: Index, real: Environment) -> Environment:
    """Do what the first stage says, in *folder*; the environment that it makes.

    Its packages come empty from the index of the tests, and are borrowed. What builds
    the wheel comes from the real one.
    """
    made, source = Environment(folder / "venv"), folder / "build"
    source.mkdir()
    given = {"PATH": os.environ["PATH"], **index.environ}
    stage = [i for i, (word, _) in enumerate(instructions()) if word == "FROM"][1]
    for word, rest in instructions()[:stage]:
        *names, _ = rest.split()
        for name in names if word == "COPY" else ():
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, source / name)
        if word == "COPY" and "requirements.txt" in names:
            shutil.copy(index.lock("requirements.txt"), source / "requirements.txt")
        if word == "RUN":
            line = rest.replace("/venv", str(made.folder))
            line = re.sub("^python ", f"{interpreter(RUNNING)} ", line)
            environ = os.environ if line.endswith(" .") else given
            subprocess.run(
                ["/bin/sh", "-ec", line], cwd=source, env=environ, check=True
            )
    shutil.rmtree(source)
    made.borrow(real)
    return made


def test_the_image_s_lines_build_what_runs_without_a_right_or_a_disk_to_write_to(
    index: Index, installed: Installed, redis_server: RedisServer, tmp_path: Path
) -> None:
    made, port = built(tmp_path, index, installed(RUNNING)), free_port()
    empty = tmp_path / "srv"
    empty.mkdir()
    for path in (empty, made.folder, *made.folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o555)
    said = dict(instructions())
    begun, check = json.loads(said["CMD"]), said["HEALTHCHECK"].partition("CMD ")[2]
    assert ["python", "-m", "bridge", "alive", "web"] == json.loads(check)
    harmless = HARMLESS if os.geteuid() == 0 else []
    environ = {
        **EXAMPLE,
        "REDIS_URL": redis_server.url,
        "PORT": port,
        "HOME": "/nonexistent",
        "PATH": f"{made.python.parent}:{os.defpath}",
        "PYTHONDONTWRITEBYTECODE": 1,
    }

    def started(name: str, command: list[str]) -> Running:
        line = [*harmless, str(made.python), *command[1:]]
        return Running(line, environ=environ, folder=tmp_path, name=name, cwd=empty)

    worker = procfile()["worker"].split()
    with started("web", begun) as web, started("worker", worker) as working:
        web.wait_for("web worker ready")
        working.wait_for("worker starts")
        lives(made.python, empty, environ)
        assert [] == list(empty.iterdir())
        assert 0 == web.terminate(), web.output
        assert 0 == working.terminate(), working.output
