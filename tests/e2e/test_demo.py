"""The demo: it needs nothing, ends 0 only where all is right, and leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from urllib3 import PoolManager
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers

from bridge.demo.lives import LIVES, deliveries
from bridge.demo.run import DATES, drawn, verdicts
from bridge.demo.stack import LINES, environment
from tests.support.processes import ROOT, Running, procfile

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
    here = {"PYTHONPATH": ROOT, "TMPDIR": folder}
    return Running(command, environ=MISLEADING | here, folder=folder, cwd=cwd or folder)


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name != "process.log"]


def test_the_demo_ends_0_because_every_account_is_right(tmp_path: Path) -> None:
    with demo(tmp_path, "--exit", "--seed", "5") as running:
        status = running.wait(60)
        said = running.output

    assert 0 == status, said
    assert "8 of 8 accounts are right" in said
    assert 8 == said.count("✓")
    assert "(late)" in said
    assert "(again)" in said
    assert "duplicate" in said
    assert "What to do next: " in said.splitlines()[-3]
    assert [] == left(tmp_path)


def test_the_demo_stays_until_it_is_ended_and_stops_all_it_started(
    tmp_path: Path,
) -> None:
    with demo(tmp_path) as running, PoolManager(retries=False, timeout=3) as pool:
        running.wait_for("bridge status\n", 60)
        said = running.output
        found = dict(re.findall(r"^  (\w+) +(http\S+)$", said, re.MULTILINE))
        password = re.findall(r"password (\S+)", said)[0]
        login = make_headers(basic_auth=f"admin:{password}")
        answers = {
            name: pool.request("GET", url, headers=login, redirect=False).status
            for name, url in found.items()
        }
        page = pool.request("GET", found["Vitally"]).data.decode()
        check_pasted(said, tmp_path)
        status = running.terminate()

        assert {"web": 200, "metrics": 200, "console": 302, "Vitally": 200} == answers
        assert all(life["name"] in page for life in LIVES)
        assert 0 == status
        assert [] == [url for url in found.values() if answers_at(pool, url)]
        assert [] == left(tmp_path)


def pasted(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Paste *line* into a new terminal: of the user's own settings it has none."""
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def lines_to_paste(said: str) -> list[str]:
    found = re.findall(r"^  (.*-m bridge .*)$", said, re.MULTILINE)
    assert ["why acme-101", "status"] == [line.split("bridge ")[-1] for line in found]
    return found


def check_pasted(said: str, folder: Path) -> None:
    why, status = [pasted(line, folder) for line in lines_to_paste(said)]

    assert (0, "") == (why.returncode, why.stderr)
    assert "account acme-101: Acme" in why.stdout
    assert (0, "") == (status.returncode, status.stderr)
    assert re.search(r"pending +0 ", status.stdout)


def test_what_it_says_to_do_next_works_when_it_is_pasted(tmp_path: Path) -> None:
    with demo(tmp_path, cwd=ROOT) as running:
        running.wait_for("bridge status\n", 60)
        check_pasted(running.output, ROOT)

    assert "in this folder" in running.output


def answers_at(pool: PoolManager, url: str) -> bool:
    try:
        pool.request("GET", url)
    except HTTPError:
        return False
    return True


def test_ctrl_c_in_the_middle_ends_it_without_a_traceback(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        running.wait_for("signs up", 30)
        running.signal(signal.SIGINT)
        status = running.wait()
        said = running.output

    assert 130 == status
    assert "Traceback" not in said
    assert said.endswith("Ended.\n")
    assert [] == left(tmp_path)


def test_the_demo_starts_the_procfile_s_lines() -> None:
    lines = {name: " ".join(("python", *line)) for name, line in LINES.items()}

    assert procfile() == lines


def test_nothing_that_the_user_has_set_reaches_a_process_of_the_demo() -> None:
    user = {**MISLEADING, "PATH": "/bin", "STRIPE_API_KEY": "rk_example"}
    own = {"PORT": "8001"}

    assert {
        "PATH": "/bin",
        "PORT": "8001",
        "PYTHONPATH": "/here",
        "PYTHONUNBUFFERED": "1",
    } == environment(user, own, Path("/here"))


def test_a_seed_gives_the_same_month_again() -> None:
    assert deliveries(LIVES, START, Random(3)) == deliveries(LIVES, START, Random(3))
    assert deliveries(LIVES, START, Random(3)) != deliveries(LIVES, START, Random(4))


def test_every_month_has_events_that_come_twice_or_late() -> None:
    for seed in range(20):
        posted = deliveries(LIVES, START, Random(seed))
        ids = {delivery.event["id"] for delivery in posted}

        assert sum(len(life["events"]) for life in LIVES) == len(ids)
        assert {"", "late", "again"} == {delivery.note for delivery in posted}
        assert all(0 <= delivery.day < 31 for delivery in posted)


def expected(life: Any) -> Mapping[str, Any]:
    """An account as Vitally would list it; days as instants of a month from 1970."""
    traits = {k: v for k, v in life["traits"].items() if k not in DATES}
    (account,) = life["accounts"]
    return {"externalId": account, "name": life["name"], "traits": traits}


def test_a_wrong_a_missing_and_a_strange_account_are_named() -> None:
    lives = [{**life, "traits": {"mrr": 1}} for life in LIVES[:3]]
    right, wrong, _ = [dict(expected(life)) for life in lives]
    wrong["traits"] = {"mrr": 2}
    strange = {"externalId": "cus_1", "name": "Strange", "traits": {}}
    found = list(verdicts(lives, [right, wrong, strange], START))
    shown = "\n".join(drawn(found))

    assert [True, False, False, False] == [not verdict.differences for verdict in found]
    assert "mrr: Vitally has 2, expected 1" in shown
    assert "Vitally has no such account" in shown
    assert "not expected" in shown
    assert 3 == shown.count("✗")


def test_an_account_that_is_there_twice_is_a_fault() -> None:
    life = {**LIVES[0], "traits": {"mrr": 1}}
    found = verdicts([life], [expected(life)] * 2, START)

    assert any(verdict.differences for verdict in found)
