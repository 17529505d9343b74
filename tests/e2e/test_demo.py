"""The demo: it needs nothing, ends 0 only where all is right, and leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers

from bridge.demo.lives import LIVES, deliveries, in_order
from bridge.demo.run import drawn, verdicts
from bridge.demo.stack import environment
from tests.support.processes import ANYWHERE, ROOT, Running

MISLEADING = {
    "REDIS_URL": "redis://127.0.0.1:9/0",
    "VITALLY_BASE_URL": "http://127.0.0.1:9",
    "STRIPE_MODE": "live",
    "BRIDGE_DRY_RUN": "true",
    "PORT": "1",
}
"""What a user may have set for a bridge; the demo must not see it."""

START = 1_790_035_200


def demo(folder: Path, *arguments: str, cwd: Path | None = None) -> Running:
    """Start the demo in *cwd* or an empty folder, with temporary files in the latter."""
    command = [sys.executable, "-m", "bridge", "demo", *arguments]
    here = {"PYTHONPATH": ANYWHERE, "TMPDIR": folder}
    return Running(command, environ=MISLEADING | here, folder=folder, cwd=cwd or folder)


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name != "process.log"]


def pasted(line: str, folder: Path) -> str:
    """Paste *line* into a new terminal: of the user's own settings it has none."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def answers(pool: PoolManager, url: str) -> bool:
    try:
        pool.request("GET", url)
    except HTTPError:
        return False
    return True


def test_the_demo_ends_0_because_every_account_is_right(tmp_path):
    with demo(tmp_path, "--exit", "--seed", "5") as running:
        status = running.wait(60)
        said = running.output

    assert 0 == status, said
    assert 8 == said.count("✓")
    for words in ("8 of 8 accounts are right", "(late)", "(again)", "duplicate"):
        assert words in said
    assert "What to do next: " in said.splitlines()[-3]
    assert [] == left(tmp_path)


@pytest.mark.parametrize("cwd", [None, ROOT], ids=["anywhere", "here"])
def test_it_stays_until_it_is_ended_and_stops_all_it_started(tmp_path, cwd):
    with (
        demo(tmp_path, cwd=cwd) as running,
        PoolManager(retries=False, timeout=3) as pool,
    ):
        running.wait_for("bridge status\n", 60)
        said = running.output
        urls = dict(re.findall(r"^  (\w+) +(http\S+)$", said, re.MULTILINE))
        password = re.findall(r"password (\S+)", said)[0]
        login = make_headers(basic_auth=f"admin:{password}")
        statuses = {
            name: pool.request("GET", url, headers=login, redirect=False).status
            for name, url in urls.items()
        }
        page = pool.request("GET", urls["Vitally"]).data.decode()
        lines = re.findall(r"^  (.*-m bridge .*)$", said, re.MULTILINE)
        why, status = (pasted(line, cwd or tmp_path) for line in lines)
        ended = running.terminate()

        assert {"web": 200, "metrics": 200, "console": 200, "Vitally": 200} == statuses
        assert all(life["name"] in page for life in LIVES)
        assert ["why acme-101", "status"] == [x.split("bridge ")[-1] for x in lines]
        assert (cwd is ROOT) == ("in this folder" in said)
        assert "account acme-101: Acme" in why
        assert re.search(r"pending +0 ", status)
        assert 0 == ended
        assert [] == [url for url in urls.values() if answers(pool, url)]
        assert [] == left(tmp_path)


def test_ctrl_c_in_the_middle_ends_it_without_a_traceback(tmp_path):
    with demo(tmp_path) as running:
        running.wait_for("signs up", 30)
        running.signal(signal.SIGINT)
        status = running.wait()

    assert 130 == status
    assert "Traceback" not in running.output
    assert running.output.endswith("Ended.\n")
    assert [] == left(tmp_path)


def test_nothing_that_the_user_has_set_reaches_a_process_of_the_demo():
    user = {**MISLEADING, "PATH": "/bin", "STRIPE_API_KEY": "rk_example"}
    own = {"PATH": "/bin", "PORT": "8001", "PYTHONUNBUFFERED": "1"}

    made = environment(user, {"PORT": "8001"}, Path("/here"))
    assert own | {"PYTHONPATH": "/here"} == made


def test_every_month_has_events_that_come_twice_or_late():
    months = [deliveries(START, Random(seed)) for seed in range(20)]
    assert months[3] == deliveries(START, Random(3)) != months[4]
    for posted in months:
        ids = {delivery.event["id"] for delivery in posted}

        assert len(in_order(START)) == len(ids)
        assert {"", "late", "again"} == {delivery.note for delivery in posted}
        assert all(0 <= delivery.day < 31 for delivery in posted)


def test_a_wrong_a_missing_a_strange_and_a_second_account_are_named():
    lives = [{**life, "traits": {"mrr": 1}} for life in LIVES[:3]]
    right, wrong, _ = (
        {"externalId": life["accounts"][0], "name": life["name"], "traits": {"mrr": n}}
        for n, life in enumerate(lives, 1)
    )
    strange = {"externalId": "cus_1", "name": "Strange", "traits": {}}
    found = list(verdicts(lives, [right, wrong, strange, right], START))
    shown = "\n".join(drawn(found))

    assert [True, *[False] * 4] == [not verdict.differences for verdict in found]
    assert "mrr: Vitally has 2, expected 1" in shown
    assert "Vitally has no such account" in shown
    assert 2 == shown.count("not expected")
    assert 4 == shown.count("✗")
