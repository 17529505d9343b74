"""`python -m bridge run`: web and worker under one parent, for a small deployment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from urllib3.exceptions import HTTPError

from tests.support.processes import Running, free_port
from tests.support.stack import Stack, Web
from tests.support.stripe import Shop
from tests.support.waiting import eventually

COMMAND = [sys.executable, "-m", "bridge", "run"]


@pytest.fixture
def one(stack: Stack) -> Iterator[Web]:
    """A ready bridge in one process tree."""
    port = free_port()
    environ = {**stack.environ, "PORT": port}
    with Running(COMMAND, environ=environ, folder=stack.folder, name="run") as running:
        web = Web(running, port)
        stack.webs.append(web)
        stack.ready()
        yield web


def children(pid: int) -> dict[str, int]:
    """The last argument of each child of a process -> its pid."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = {int(one): Path(f"/proc/{one}/cmdline").read_bytes() for one in found}
    return {line.decode().rstrip("\0").split("\0")[-1]: n for n, line in lines.items()}


def alive(pids: Iterable[int]) -> list[int]:
    """Those of *pids* that still run; one that left only its exit status does not."""
    states = {pid: Path(f"/proc/{pid}/stat") for pid in pids}
    running = {pid: path.read_text() for pid, path in states.items() if path.exists()}
    return [pid for pid, text in running.items() if text.rpartition(") ")[2][0] != "Z"]


def alive_says(web: Web, stack: Stack) -> int:
    """The exit status of a container's health check for both, here."""
    command = [*COMMAND[:-1], "alive", "web", "worker"]
    environ = {**stack.environ, "PORT": web.port}
    with Running(command, environ=environ, folder=stack.folder, name="alive") as check:
        return check.wait()


def test_the_health_check_holds_for_both_until_they_end(stack: Stack, one: Web) -> None:
    assert 0 == alive_says(one, stack)
    assert 0 == one.running.terminate()
    assert 1 == alive_says(one, stack)


def test_an_event_goes_all_the_way_and_sigterm_ends_both(
    stack: Stack, one: Web
) -> None:
    shop = Shop()
    assert 202 == stack.stripe().post(shop.signs_up()).status
    eventually(lambda: stack.vitally.account(shop.id), what="the account")
    kept = children(one.running.pid).values()

    assert 2 == len(kept)
    assert 0 == one.running.terminate()
    assert [] == alive(kept)


@pytest.mark.parametrize("name", ["serve", "workers"])
def test_what_dies_is_started_again(stack: Stack, one: Web, name: str) -> None:
    dead = children(one.running.pid)[name]
    os.kill(dead, signal.SIGKILL)
    eventually(lambda: dead not in children(one.running.pid).values(), what="its end")
    shop, stripe = Shop(), stack.stripe()

    def taken() -> bool:
        with suppress(HTTPError):
            return stripe.post(shop.signs_up()).status == 202
        return False

    eventually(taken, what="a 202")
    eventually(lambda: stack.vitally.account(shop.id), what="the account")


def test_both_end_when_their_parent_is_killed(stack: Stack, one: Web) -> None:
    kept = children(one.running.pid).values()
    one.running.process.kill()

    eventually(lambda: not alive(kept), what="their end")


def test_wrong_settings_are_named_once(stack: Stack) -> None:
    environ = {**stack.environ, "VITALLY_REGION": "mars"}
    with Running(COMMAND, environ=environ, folder=stack.folder, name="run") as running:
        assert 78 == running.wait()
        assert 1 == running.output.count("VITALLY_REGION"), running.output
