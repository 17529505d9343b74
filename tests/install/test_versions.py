"""Each Python that is promised installs the lock, and runs what the Procfile says."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.processes import ROOT, Running, free_port, procfile
from tests.support.pythons import VERSIONS, Environment, interpreter
from tests.support.waiting import eventually

EXAMPLE = {"VITALLY_API_KEY": "example", "VITALLY_BASE_URL": "http://127.0.0.1:9"}


def start(line: str, made: Environment, folder: Path, **said: object) -> Running:
    """Start a line of the Procfile in the checkout, as a platform does."""
    command = [str(made.python), *procfile()[line].split()[1:]]
    # What it compiles is not left in the checkout.
    environ = {**EXAMPLE, "PYTHONDONTWRITEBYTECODE": 1, **said}
    return Running(command, environ=environ, folder=folder, name=line)


@pytest.mark.parametrize("version", VERSIONS)
def test_it_installs_the_lock_and_runs_both_processes(
    version, installed, redis_server, tmp_path
):
    made, port = installed(version), free_port()
    url = redis_server.url
    with (
        start("web", made, tmp_path, REDIS_URL=url, PORT=port) as web,
        start("worker", made, tmp_path, REDIS_URL=url) as worker,
    ):

        def answers() -> bool:
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as reply:
                return 200 == reply.status

        assert eventually(answers, 30, what=f"/healthz\n{web.output}")
        worker.wait_for("worker starts", 30)

        assert 0 == web.terminate(), web.output
        assert 0 == worker.terminate(), worker.output


def test_one_of_them_is_here():
    assert any(interpreter(version) for version in VERSIONS)


def test_the_one_that_heroku_takes_is_promised_and_is_the_image_s():
    """https://devcenter.heroku.com/articles/python-runtimes: one line, `major.minor`."""
    named = (ROOT / ".python-version").read_text(encoding="utf-8")
    image = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    bases = set(re.findall(r"^FROM python:([0-9.]+)-slim", image, re.MULTILINE))

    assert named.removesuffix("\n") in VERSIONS
    assert {named.strip()} == bases
