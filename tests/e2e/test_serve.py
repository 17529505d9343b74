"""The web process as a whole: signals, crashes, bad starts, and a Redis that is away."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bridge.webhook.auth import STRIPE, sign
from tests.support.processes import Running, start
from tests.support.raw import head
from tests.support.stack import Stack, Web
from tests.support.stripe import SECRET
from tests.support.waiting import eventually

COMMANDS = {
    "serve": ("-m", "bridge", "serve"),
    "run": ("-m", "bridge", "run"),
    "workers": ("-m", "workers"),
}


@pytest.fixture
def web(stack: Stack) -> Web:
    made = stack.web()
    eventually(made.takes)
    return made


def _often(pid: int, number: int) -> None:
    """Send a signal to a process and its children again and again, until they end."""
    with suppress(ProcessLookupError):
        for _ in range(200):
            os.killpg(pid, number)
            time.sleep(0.005)


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "send", [os.kill, os.killpg, _often], ids=["process", "group", "often"]
)
def test_a_signal_ends_it_with_status_0(
    web: Web, name: signal.Signals, send: Callable[[int, int], None]
) -> None:
    worker = web.child
    send(web.running.pid, name)

    assert 0 == web.running.wait(within=5)
    assert not Path(f"/proc/{worker}").exists()


def test_what_was_begun_before_the_signal_is_finished_and_who_stalls_is_left(
    web: Web,
) -> None:
    body = b"late"
    signed = [f"{k}: {v}" for k, v in sign(STRIPE, SECRET, body, time.time()).items()]
    beginning = head("POST /webhooks/stripe", "Content-Length: 4", *signed)
    address = ("127.0.0.1", web.port)
    with (
        socket.create_connection(address, timeout=5) as sender,
        socket.create_connection(address) as stalls,
        socket.create_connection(address) as stalls_too,
    ):
        sender.sendall(beginning + body[:2])
        stalls.sendall(beginning)
        stalls_too.sendall(beginning[:20])
        assert web.is_alive()
        web.running.signal(signal.SIGTERM)
        eventually(lambda: not web.is_alive(), what="no new connection")
        sender.sendall(body[2:])
        answer = sender.recv(1000)
        status = web.running.wait(within=20)

    assert answer.startswith(b"HTTP/1.1 202 ")
    assert 0 == status


def test_a_killed_worker_is_replaced_time_and_again(web: Web) -> None:
    seen = {web.child}
    for _ in range(2):
        os.kill(web.child, signal.SIGKILL)
        eventually(lambda: web.child not in seen)
        eventually(web.takes)
        seen.add(web.child)

    assert 3 == len(seen)
    assert 0 == web.running.terminate()


def test_a_worker_does_not_outlive_its_parent(web: Web) -> None:
    worker = web.child
    os.kill(web.running.pid, signal.SIGKILL)

    eventually(lambda: not Path(f"/proc/{worker}").exists())


def test_a_redis_that_is_away_or_may_evict_costs_a_503_until_it_is_well(
    stack: Stack,
) -> None:
    stack.redis_server.kill()
    web = stack.web()
    status, seconds = web.deliver()

    assert 503 == status == web.get("/readyz")[0]
    assert seconds < 2
    stack.redis_server.restart()
    eventually(web.takes)
    stack.redis_server.config(maxmemory_policy="allkeys-lru")
    eventually(lambda: web.deliver()[0] == 503)
    assert "allkeys-lru" in web.get("/readyz")[1]
    stack.redis_server.config(maxmemory_policy="noeviction")
    eventually(web.takes)


def test_without_a_source_it_runs_and_says_so(stack: Stack) -> None:
    web = stack.web(STRIPE_WEBHOOK_SECRET="")

    assert "no source is switched on" in web.running.output
    assert 404 == web.deliver()[0]


def test_bad_settings_are_all_named_before_anything_listens(stack: Stack) -> None:
    wrong = {"REDIS_URL": "http://a", "VITALLY_API_KEY": "", "BRIDGE_TYPO": "1"}
    with start("web", stack.environ | wrong, stack.folder) as running:
        assert 78 == running.wait()

    assert [] == [name for name in wrong if name not in running.output]
    assert "listening" not in running.output


def test_a_port_in_use_is_told(stack: Stack, web: Web) -> None:
    taken = stack.environ | {"PORT": web.port}
    with start("web", taken, stack.folder) as running:
        assert 1 == running.wait()

    assert f"port {web.port} is not available" in running.output
    assert "Traceback" not in running.output


def test_nothing_of_a_delivery_but_its_fate_is_logged(web: Web) -> None:
    web.deliver(b'{"secret": "body-example"}')
    web.ask("POST", "/webhooks/stripe?token=query-example", body=b"body-example")
    lines = [json.loads(line) for line in web.running.output.splitlines()]
    fates = [x["status"] for x in lines if x["message"] == "delivery"]

    assert [202, 401] == fates[-2:]
    assert "example" not in web.running.output


def test_its_processes_stay_within_90_megabytes(web: Web) -> None:
    for _ in range(200):
        web.deliver()
    kilobytes = 0
    for pid in (web.running.pid, web.child):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        (pss,) = (x for x in rollup.splitlines() if x.startswith("Pss:"))
        kilobytes += int(pss.split()[1])

    assert kilobytes < 90 * 1024


@pytest.mark.parametrize("process", COMMANDS)
def test_a_signal_while_it_starts_ends_it_with_status_0(
    stack: Stack, process: str
) -> None:
    """Python itself needs a moment before a first line of ours can run."""
    ended = []
    for step in range(6):
        command = [sys.executable, *COMMANDS[process]]
        environ = stack.environ | {"PORT": 0}
        with Running(command, environ=environ, folder=stack.folder) as running:
            eventually(lambda pid=running.pid: _catches(pid))
            if step == 0:
                loaded = Path(f"/proc/{running.pid}/maps").read_text(encoding="utf-8")
                assert "granian" not in loaded
                assert "hiredis" not in loaded
            time.sleep(step * 0.05)
            running.signal(signal.SIGTERM)
            ended.append(running.wait())

    assert [0] * 6 == ended


def _catches(pid: int) -> bool:
    """Whether the process has said what a SIGTERM does."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (caught,) = (one for one in lines if one.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
