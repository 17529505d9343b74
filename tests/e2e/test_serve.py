"""The web process as a whole: stalled senders, signals, crashes, bad starts."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from redis import Redis

from bridge.redis_server import free_port
from tests.support.processes import Running, start
from tests.support.server import RedisServer
from tests.support.waiting import eventually

SECRET = "whsec_example"

MEBIBYTE = 1024 * 1024

HALF_HEADERS = b"POST /webhooks/stripe HTTP/1.1\r\nHost: bridge\r\nX-Half: "
HALF_BODY = (
    b"POST /webhooks/stripe HTTP/1.1\r\nHost: bridge\r\nContent-Length: 4000\r\n\r\n{"
)

Serve = Callable[..., "Web"]


class Web:
    """A running web process and how to talk to it."""

    def __init__(self, running: Running, port: int) -> None:
        self.running = running
        self.port = port

    def ask(self, method: str, path: str, **more: Any) -> urllib3.BaseHTTPResponse:
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib3.PoolManager(timeout=5, retries=False) as http:
            return http.request(method, url, **more)

    def deliver(self, body: bytes = b"not an event") -> tuple[int, float]:
        """Return the status and the seconds it took; the body is signed as Stripe's."""
        at = str(int(time.time()))
        mark = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256)
        headers = {"Stripe-Signature": f"t={at},v1={mark.hexdigest()}"}
        begun = time.monotonic()
        answer = self.ask("POST", "/webhooks/stripe", body=body, headers=headers)
        return answer.status, time.monotonic() - begun

    def is_alive(self) -> bool:
        return self.tell(lambda: self.ask("GET", "/healthz").status == 200)

    def takes(self) -> bool:
        return self.tell(lambda: self.deliver()[0] == 202)

    @staticmethod
    def tell(check: Callable[[], bool]) -> bool:
        """Return False, too, where nobody listens or the worker has just gone."""
        try:
            return check()
        except urllib3.exceptions.HTTPError:
            return False

    def worker(self) -> int:
        """Process id of the one worker."""
        pid = self.running.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert len(children) == 1
        return int(children[0])

    @contextmanager
    def stalled(self, *beginnings: bytes) -> Iterator[None]:
        """Keep a hundred senders for each of *beginnings*, who do not go on."""
        with ExitStack() as stack:
            for beginning in beginnings * 100:
                sender = socket.create_connection(("127.0.0.1", self.port))
                stack.enter_context(sender).sendall(beginning)
            yield


def environ(url: str, port: int) -> dict[str, object]:
    return {
        "PORT": port,
        "REDIS_URL": url,
        "VITALLY_API_KEY": "sk_example",
        "VITALLY_SUBDOMAIN": "acme",
        "STRIPE_WEBHOOK_SECRET": SECRET,
    }


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def make(url: str, **more: object) -> Web:
            port = free_port()
            running = start("web", environ(url, port) | more, tmp_path)
            web = Web(stack.enter_context(running), port)
            eventually(web.is_alive, 20, what="the web process")
            return web

        yield make


@pytest.fixture
def web(serve: Serve, redis: Redis, redis_server: RedisServer) -> Web:
    made = serve(redis_server.url)
    eventually(made.takes)
    return made


STALLS = pytest.mark.parametrize(
    "beginnings",
    [(HALF_HEADERS,), (HALF_BODY,), (HALF_HEADERS, HALF_BODY)],
    ids=["headers", "bodies", "both"],
)


@STALLS
def test_stalled_senders_stop_nobody_else(
    web: Web, beginnings: tuple[bytes, ...]
) -> None:
    with web.stalled(*beginnings):
        begun = time.monotonic()
        alive = [web.is_alive() for _ in range(10)]
        taken = [web.deliver()[0] for _ in range(10)]
        seconds = time.monotonic() - begun

    assert alive == [True] * 10
    assert taken == [202] * 10
    assert seconds < 2


def test_it_ends_in_time_with_status_0_though_senders_stall(web: Web) -> None:
    with web.stalled(HALF_HEADERS, HALF_BODY):
        status = web.running.terminate(within=20)

    assert status == 0


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["process", "group"])
def test_a_signal_ends_it_with_status_0(
    web: Web, name: signal.Signals, send: Callable[[int, int], None]
) -> None:
    worker = web.worker()
    send(web.running.pid, name)

    assert web.running.wait(within=5) == 0
    assert not Path(f"/proc/{worker}").exists()


def test_what_was_begun_before_the_signal_is_finished(web: Web) -> None:
    body = b"late"
    at = str(int(time.time()))
    mark = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256)
    head = (
        f"POST /webhooks/stripe HTTP/1.1\r\nHost: bridge\r\nContent-Length: 4\r\n"
        f"Stripe-Signature: t={at},v1={mark.hexdigest()}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", web.port), timeout=5) as sender:
        sender.sendall(head.encode() + body[:2])
        web.ask("GET", "/healthz")
        web.running.signal(signal.SIGTERM)
        eventually(lambda: not web.is_alive(), what="no new connection")
        sender.sendall(body[2:])
        answer = sender.recv(1000)

    assert answer.startswith(b"HTTP/1.1 202 ")
    assert web.running.wait(within=20) == 0


def test_a_killed_worker_is_replaced_time_and_again(web: Web) -> None:
    seen = {web.worker()}
    for _ in range(2):
        os.kill(web.worker(), signal.SIGKILL)
        eventually(lambda: web.worker() not in seen)
        eventually(web.takes)
        seen.add(web.worker())

    assert len(seen) == 3
    assert web.running.terminate() == 0


def test_a_worker_does_not_outlive_its_parent(web: Web) -> None:
    worker = web.worker()
    os.kill(web.running.pid, signal.SIGKILL)

    eventually(lambda: not Path(f"/proc/{worker}").exists(), 5)


def test_without_redis_it_starts_and_recovers(serve: Serve) -> None:
    with RedisServer() as server:
        server.kill()
        web = serve(server.url)
        refused = web.deliver()
        ready = web.ask("GET", "/readyz")
        server.restart()
        eventually(web.takes, 5)

    assert refused[0] == 503
    assert refused[1] < 2
    assert ready.status == 503


def test_a_redis_that_hangs_costs_a_sender_less_than_two_seconds(
    serve: Serve,
) -> None:
    with RedisServer() as server:
        web = serve(server.url)
        eventually(web.takes)
        server.pause()
        answers = [web.deliver() for _ in range(5)]
        server.resume()
        eventually(web.takes, 5)

    assert [status for status, _ in answers] == [503] * 5
    assert max(seconds for _, seconds in answers) < 2


def test_a_redis_that_may_evict_is_not_used(serve: Serve) -> None:
    with RedisServer() as server:
        web = serve(server.url)
        eventually(web.takes)
        server.config(maxmemory_policy="allkeys-lru")
        eventually(lambda: web.deliver()[0] == 503, 2)
        ready = web.ask("GET", "/readyz").json()
        server.config(maxmemory_policy="noeviction")
        eventually(web.takes, 2)

    assert any("allkeys-lru" in reason for reason in ready["reasons"])


def test_too_large_a_body_is_answered_and_not_cut_off(web: Web) -> None:
    pieces = [b"x" * 65_536] * 48
    whole = web.ask("POST", "/webhooks/stripe", body=b"".join(pieces))
    chunked = web.ask("POST", "/webhooks/stripe", body=iter(pieces), chunked=True)
    nobody = web.ask("POST", "/webhooks/nobody", body=b"".join(pieces))

    assert [whole.status, chunked.status, nobody.status] == [413, 413, 404]
    assert whole.json() == {"error": "the body is over 1 MiB"}


def test_without_a_source_it_runs_and_says_so(
    serve: Serve, redis_server: RedisServer
) -> None:
    web = serve(redis_server.url, STRIPE_WEBHOOK_SECRET="")

    assert "no source is switched on" in web.running.output
    assert web.deliver()[0] == 404


def test_bad_settings_are_all_named_before_anything_listens(tmp_path: Path) -> None:
    port = free_port()
    wrong = environ("http://127.0.0.1", port) | {
        "VITALLY_API_KEY": "",
        "BRIDGE_TYPO": "1",
    }
    with start("web", wrong, tmp_path) as running:
        status = running.wait()
        said = running.output

    assert status == 78
    assert all(n in said for n in ("REDIS_URL", "VITALLY_API_KEY", "BRIDGE_TYPO"))
    assert "listening" not in said


def test_a_port_in_use_is_told(web: Web, redis: Redis, tmp_path: Path) -> None:
    taken = environ("redis://127.0.0.1:1", web.port)
    with start("web", taken, tmp_path) as running:
        status = running.wait()
        said = running.output

    assert status == 1
    assert f"port {web.port} cannot be had" in said
    assert "Traceback" not in said


def test_nothing_of_a_delivery_but_its_fate_is_logged(web: Web) -> None:
    web.deliver(b'{"secret": "body-example"}')
    web.ask("POST", "/webhooks/stripe?token=query-example", body=b"body-example")
    lines = [json.loads(line) for line in web.running.output.splitlines()]
    fates = [x["status"] for x in lines if x["message"] == "delivery"]

    assert fates[-2:] == [202, 401]
    assert "example" not in web.running.output


def test_its_processes_stay_within_90_megabytes(web: Web) -> None:
    for _ in range(200):
        web.deliver()
    kilobytes = 0
    for pid in (web.running.pid, web.worker()):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        (pss,) = (x for x in rollup.splitlines() if x.startswith("Pss:"))
        kilobytes += int(pss.split()[1])

    assert kilobytes < 90 * 1024
