"""Senders that stall, drip, lie or leave: each costs a socket, and that for 10 s."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

import pytest
import urllib3

from bridge.webhook.auth import STRIPE, sign
from tests.support.proxy import Proxy, delay, resp
from tests.support.raw import head, send
from tests.support.stack import Stack, Web
from tests.support.stripe import SECRET
from tests.support.waiting import eventually

pytestmark = pytest.mark.alone

PASSWORD = "console-example"

CLOSE = "Connection: close"
CHUNKED = "Transfer-Encoding: chunked"

HOOK = "POST /webhooks/stripe"
NOBODY = "POST /webhooks/nobody"
OTHER = "PUT /webhooks/stripe"

MEBIBYTE = 1024 * 1024

HALF_HEADERS = head(HOOK, "X-Half: ").removesuffix(b"\r\n\r\n")
HALF_BODY = head(HOOK, "Content-Length: 4000") + b"{"

STALLS = (
    HALF_HEADERS,
    HALF_BODY,
    HALF_BODY.replace(b"stripe", b"nobody"),
    head(HOOK, CHUNKED) + b"4\r\nhalf\r\n",
    head(OTHER, "Content-Length: 9") + b"half",
    head("POST /console/queues/", "Content-Length: 9") + b"half",
    b"",
    head("GET /healthz"),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("web")
    with Stack(folder, CONSOLE_PASSWORD=PASSWORD) as stack:
        stack.web()
        yield stack


@pytest.fixture
def web(running: Stack) -> Web:
    """The one web process of all these tests; nothing is in its Redis."""
    (web,) = running.webs
    running.redis.flushall()
    eventually(web.takes)
    running.redis.flushall()
    return web


def signed(body: bytes) -> str:
    """The header that makes *body* authentic."""
    ((name, value),) = sign(STRIPE, SECRET, body, time.time()).items()
    return f"{name}: {value}"


def waits_for(web: Web, posted: list[Future[tuple[int, float]]]) -> list[float]:
    """Ask whether it lives until all are answered: the seconds of each answer."""
    seconds = []
    while not all(one.done() for one in posted) or len(seconds) < 5:
        asked = time.monotonic()
        assert web.is_alive()
        seconds.append(time.monotonic() - asked)
    return seconds


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


def test_two_thousand_stalled_senders_stop_nobody_and_are_closed(web: Web) -> None:
    with ExitStack() as stack, DefaultSelector() as selector:
        begun = time.monotonic()
        for number in range(2000):
            sender = socket.create_connection(("127.0.0.1", web.port), timeout=5)
            stack.enter_context(sender).sendall(STALLS[number % len(STALLS)])
            sender.setblocking(False)
            selector.register(sender, EVENT_READ, number % len(STALLS))
        until = time.monotonic() + 3
        seconds = []
        while time.monotonic() < until:
            asked = time.monotonic()
            assert web.is_alive()
            seconds.append(time.monotonic() - asked)
            status, spent = web.deliver()
            assert 202 == status, (spent, web.running.output[-3000:])
            seconds.append(spent)
        assert max(seconds) < 1

        while selector.get_map() and time.monotonic() - begun < 20:
            for key, _ in selector.select(1):
                sender = key.fileobj
                assert isinstance(sender, socket.socket)
                try:
                    ended = not sender.recv(65_536)
                except ConnectionResetError:
                    ended = True
                if ended:
                    selector.unregister(sender)
        left = [key.data for key in selector.get_map().values()]

    assert [] == left
    assert web.is_alive()


def test_what_drips_is_closed_after_ten_seconds_as_a_whole(web: Web) -> None:
    drips = [b"a"] * 14
    beginnings = {
        HALF_HEADERS: (drips, []),
        head(HOOK, "Content-Length: 4000"): (drips, [408]),
        head(HOOK, CHUNKED): ([chunk(drip) for drip in drips], [408]),
    }
    with ThreadPoolExecutor(len(beginnings)) as pool:
        sent = [
            pool.submit(send, web.port, beginning, *pieces, gap=1.0)
            for beginning, (pieces, _) in beginnings.items()
        ]
        answers = [one.result() for one in sent]

    expected = [statuses for _, statuses in beginnings.values()]
    assert expected == [answer.statuses for answer in answers]
    assert [] == [x.seconds for x in answers if not 9 < x.seconds < 15]


BODY = b"not an event"
LENGTH = f"Content-Length: {len(BODY)}"

ODD = {
    "a body": (head(HOOK, CLOSE, LENGTH, signed(BODY)) + BODY, [202]),
    "a body in chunks": (
        head(HOOK, CLOSE, CHUNKED, signed(BODY))
        + chunk(BODY[:5])
        + chunk(BODY[5:])
        + chunk(b""),
        [202],
    ),
    "HTTP/1.0": (head(HOOK, LENGTH, signed(BODY), version="1.0") + BODY, [202]),
    "HTTP/1.0 without a host": (b"GET /healthz HTTP/1.0\r\n\r\n", [200]),
    "one after another at once": (
        (head(HOOK, LENGTH, signed(BODY)) + BODY) * 3 + head("GET /healthz", CLOSE),
        [202, 202, 202, 200],
    ),
    "twice the same length": (
        head(HOOK, CLOSE, LENGTH, LENGTH, signed(BODY)) + BODY,
        [202],
    ),
    "two lengths": (head(HOOK, LENGTH, "Content-Length: 5") + BODY, [400]),
    "a length and chunks": (
        head(HOOK, CLOSE, LENGTH, CHUNKED, signed(BODY)) + chunk(BODY) + chunk(b""),
        [202],
    ),
    "a longer body than said": (
        head(HOOK, f"Content-Length: {len(BODY)}", signed(BODY)) + BODY + b"\0\r\n\r\n",
        [202, 400],
    ),
    "no length": (head(HOOK, CLOSE), [401]),
    "a length that is no number": (head(HOOK, "Content-Length: x"), [400]),
    "a length beyond all": (head(HOOK, f"Content-Length: {10**18}"), [413]),
    "a length beyond 64 bits": (head(HOOK, f"Content-Length: {10**30}"), [400]),
    "chunks that are none": (head(HOOK, CHUNKED) + b"zz\r\n", [400]),
    "HEAD": (head("HEAD /healthz", CLOSE), [200]),
    "OPTIONS of all": (head("OPTIONS *", CLOSE), [404]),
    "a path that is no UTF-8": (head("GET /webhooks/%ff%00", CLOSE), [404]),
    "a header that is no ASCII": (head("GET /healthz", CLOSE, "X: \xe9\xff"), [200]),
    "a mebibyte": (
        head(HOOK, CLOSE, f"Content-Length: {MEBIBYTE}", signed(b"x" * MEBIBYTE))
        + b"x" * MEBIBYTE,
        [202],
    ),
    "an unknown source": (head(NOBODY, "Content-Length: 9"), [404]),
    "an unknown source in chunks": (head(NOBODY, CHUNKED), [404]),
    "another method": (head(OTHER, "Content-Length: 9"), [405]),
    "another method in chunks": (head(OTHER, CHUNKED), [405]),
    "too much": (head(HOOK, f"Content-Length: {MEBIBYTE + 1}"), [413]),
    "a page with a body": (head("GET /readyz", "Content-Length: 9"), [503]),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_sent_oddly_is_answered_once_and_at_once(web: Web, name: str) -> None:
    sent, statuses = ODD[name]
    told = send(web.port, sent, answers=len(statuses))

    assert statuses == told.statuses
    assert told.seconds < 2


@pytest.mark.parametrize("sender", [HOOK, NOBODY, OTHER])
def test_a_refusal_is_there_before_the_body(web: Web, sender: str) -> None:
    length = 9 if sender != HOOK else MEBIBYTE + 1
    with socket.create_connection(("127.0.0.1", web.port), timeout=2) as peer:
        peer.sendall(head(sender, f"Content-Length: {length}"))
        answer = peer.recv(1000)

    assert answer[9:12] in {b"404", b"405", b"413"}


@pytest.mark.parametrize(
    ("sender", "length", "statuses"),
    [
        (HOOK, len(BODY), [100, 202]),
        (HOOK, MEBIBYTE + 1, [413]),
        (NOBODY, 9, [404]),
    ],
)
def test_whoever_waits_to_continue_is_told_to_or_answered(
    web: Web, sender: str, length: int, statuses: list[int]
) -> None:
    expecting = head(
        sender, CLOSE, f"Content-Length: {length}", "Expect: 100-continue", signed(BODY)
    )
    told = send(web.port, expecting, *([BODY] if 100 in statuses else []), gap=0.3)

    assert statuses == told.statuses
    assert told.seconds < 2


CUT = {
    "in a chunk": head(HOOK, CHUNKED, signed(BODY)) + b"c\r\n" + BODY[:4],
    "between chunks": head(HOOK, CHUNKED, signed(BODY)) + chunk(BODY),
    "in a length": head(HOOK, f"Content-Length: {len(BODY) + 1}", signed(BODY)) + BODY,
    "before the last line": head(HOOK, CHUNKED, signed(BODY)) + chunk(BODY) + b"0\r\n",
}


@pytest.mark.parametrize("name", CUT)
def test_a_body_that_is_cut_off_is_no_body(web: Web, running: Stack, name: str) -> None:
    answer = send(web.port, CUT[name], ends=True)

    assert [400] == answer.statuses
    assert b"the body ended early" in answer.text
    now = running.figures()
    assert (0, 0, 0) == (now.received, now.quarantined, now.dirty)


def test_a_sender_that_is_gone_in_the_middle_leaves_nothing(
    web: Web, running: Stack
) -> None:
    def refused() -> int:
        return web.running.output.count('"status":400')

    before = refused()
    for cut in CUT.values():
        with socket.create_connection(("127.0.0.1", web.port)) as peer:
            peer.sendall(cut)
    eventually(lambda: refused() == before + len(CUT))

    now = running.figures()
    assert (0, 0, 0) == (now.received, now.quarantined, now.dirty)


def test_too_large_a_body_is_answered_and_not_cut_off(web: Web) -> None:
    """Also to a client that sends all of it before it reads."""
    pieces = [b"x" * 65_536] * 48
    whole = web.ask("POST", "/webhooks/stripe", body=b"".join(pieces))
    chunked = web.ask("POST", "/webhooks/stripe", body=iter(pieces), chunked=True)
    nobody = web.ask("POST", "/webhooks/nobody", body=b"".join(pieces))

    assert [413, 413, 404] == [whole.status, chunked.status, nobody.status]
    assert {"error": "the body is over 1 MiB"} == whole.json() == chunked.json()


def kilobytes(web: Web) -> int:
    """What the process that answers holds in memory; earlier tests leave some there."""
    lines = Path(f"/proc/{web.child}/status").read_text(encoding="ascii")
    (rss,) = (x for x in lines.splitlines() if x.startswith("VmRSS:"))
    return int(rss.split()[1])


@pytest.mark.parametrize("count", [70, 200])
def test_unfinished_bodies_fill_no_memory_and_shut_nobody_out(
    web: Web, count: int
) -> None:
    """Each is just below a mebibyte; deliveries of any size go on."""
    beginning = head(HOOK, f"Content-Length: {MEBIBYTE}") + b"x" * (MEBIBYTE - 1)
    before = kilobytes(web)
    with ExitStack() as stack:
        senders = []
        for _ in range(count):
            sender = socket.create_connection(("127.0.0.1", web.port), timeout=5)
            senders.append(stack.enter_context(sender))
            try:
                sender.sendall(beginning)
            except OSError:
                continue
        sizes = (12, 20_000, 20_000, 300_000, MEBIBYTE)
        answers = [web.deliver(b"x" * size) for size in sizes]
        grown = kilobytes(web) - before

    assert [202] * len(sizes) == [status for status, _ in answers]
    assert max(seconds for _, seconds in answers) < 1
    assert grown < 180 * 1024


def test_guesses_of_the_console_s_password_wait_and_the_right_one_does_not(
    web: Web,
) -> None:
    """Guessers on a hundred connections, for two seconds."""
    until = time.monotonic() + 2
    wrong = urllib3.make_headers(basic_auth="admin:wrong-example")
    right = urllib3.make_headers(basic_auth=f"admin:{PASSWORD}")

    def guess() -> int:
        answered = 0
        while time.monotonic() < until:
            try:
                answered += web.ask("GET", "/console/", headers=wrong).status == 401
            except urllib3.exceptions.TimeoutError:
                return answered
        return answered

    with ThreadPoolExecutor(100) as pool:
        guesses = [pool.submit(guess) for _ in range(100)]
        seconds = []
        while time.monotonic() < until:
            begun = time.monotonic()
            answer = web.ask("GET", "/console/", headers=right, redirect=False)
            assert 200 == answer.status
            assert web.is_alive()
            seconds.append(time.monotonic() - begun)
            time.sleep(0.1)
        answered = sum(one.result() for one in guesses)

    assert max(seconds) < 1
    assert answered < 110
    assert "wrong console password" in web.running.output


def test_a_redis_that_hangs_keeps_nobody_from_healthz_nor_longer_than_two_seconds(
    stack: Stack,
) -> None:
    web = stack.web()
    eventually(web.takes)
    with ThreadPoolExecutor(40) as pool:
        stack.redis_server.pause()
        posted = [pool.submit(web.deliver) for _ in range(40)]
        alive = waits_for(web, posted)
        stack.redis_server.resume()
    eventually(web.takes)

    assert {503} == {one.result()[0] for one in posted}
    assert max(one.result()[1] for one in posted) < 2
    assert max(alive) < 1


def test_a_redis_that_is_slow_delays_no_answer_beyond_two_seconds(
    stack: Stack,
) -> None:
    """It always answers in time; more come in than it takes."""
    with (
        Proxy(stack.redis_server.port, resp) as between,
        ThreadPoolExecutor(80) as pool,
    ):
        web = stack.web(REDIS_URL=f"redis://127.0.0.1:{between.port}/0")
        eventually(web.takes)
        rule = between.on(b"EVAL", delay(0.3), times=None)
        posted = [pool.submit(web.deliver, b"event %d" % n) for n in range(80)]
        alive = waits_for(web, posted)
        rule.release()
        answers = [one.result() for one in posted]

    assert {202, 503} == {status for status, _ in answers}
    assert max(seconds for _, seconds in answers) < 2
    assert max(alive) < 1
