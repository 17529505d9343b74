"""What a stranger may try over HTTP, and the headers that every answer has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from urllib3 import make_headers

from bridge.sources import load
from bridge.store.health import Watch
from bridge.web import create_app
from bridge.web.console import create_console
from bridge.webhook.auth import STRIPE, sign
from tests.support.raw import head, send
from tests.support.stack import Stack, Web
from tests.support.stripe import SECRET
from tests.support.waiting import eventually

PASSWORD = "console-password-example"
BODY = b'{"id": "evt_1"}'
NEXT = head("GET /healthz", "Connection: close")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("hard"), CONSOLE_PASSWORD=PASSWORD) as made:
        made.web()
        yield made


@pytest.fixture
def web(stack: Stack) -> Web:
    return stack.webs[0]


# --- Requests that can be read in two ways --------------------------------------------


def signed(*headers: str, body: bytes = BODY, sized: bool = True) -> bytes:
    """A delivery that Stripe has signed, with more *headers*."""
    proof = [f"{k}: {v}" for k, v in sign(STRIPE, SECRET, BODY, time.time()).items()]
    length = [f"Content-Length: {len(body)}"] if sized else []
    return head("POST /webhooks/stripe", *length, *proof, *headers) + body


def chunked(chunks: bytes, coding: str = "chunked") -> bytes:
    return signed(f"Transfer-Encoding: {coding}", body=chunks, sized=False)


CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

TAKEN = {
    "as Stripe does": signed,
    "in chunks": lambda: chunked(CHUNKS),
    "with a trailer": lambda: chunked(CHUNKS[:-2] + b"X-A: b\r\n\r\n"),
    "with Salesforce's underscores": lambda: signed("SFDC_STACK_DEPTH: 1"),
    "by Heroku's router": lambda: signed(
        "Connection: close", "Via: 1.1 heroku-router", "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: https", "X-Forwarded-Port: 443", "X-Request-Start: 1",
    ),
    "with the same length twice": lambda: signed(f"Content-Length: {len(BODY)}"),
    "to an address with a slash too many": lambda: (
        signed().replace(b"/webhooks", b"//webhooks")
    ),
    "by HTTP/1.0 and without a host": lambda: (
        signed().replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: bridge\r\n", b"")
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", TAKEN)
def test_what_is_honest_is_taken(web: Web, how: str) -> None:
    assert [202] == send(web.port, TAKEN[how](), answers=1).statuses


REFUSED = {
    "no host": lambda: signed().replace(b"Host: bridge\r\n", b""),
    "an empty host": lambda: signed().replace(b"Host: bridge", b"Host:"),
    "two hosts": lambda: signed("Host: other"),
    "a host that is none": lambda: signed().replace(b"bridge", b"a/b"),
    "a host with an empty label": lambda: signed().replace(b"bridge", b"br..idge"),
    "a host with a long label": lambda: signed().replace(b"bridge", b"a" * 64),
    "a second signature": lambda: signed("Stripe_Signature: t=1,v1=00"),
    "a length with an underscore": lambda: signed("Content_Length: 3"),
    "a scheme with underscores": lambda: signed("X_Forwarded_Proto: https"),
    "an address with underscores": lambda: signed("x-forwarded_for: 192.0.2.1"),
    "chunks with underscores": lambda: signed("Transfer_Encoding: chunked"),
    "another coding": lambda: chunked(CHUNKS, "gzip, chunked"),
    "chunks twice": lambda: chunked(CHUNKS, "chunked\r\nTransfer-Encoding: chunked"),
    "another coding last": lambda: chunked(CHUNKS, "identity"),
    "a coding in HTTP/1.0": lambda: chunked(CHUNKS).replace(b"P/1.1", b"P/1.0"),
    "two lengths": lambda: signed("Content-Length: 3"),
    "lengths in a list": lambda: signed("Content-Length: 15, 15", sized=False),
    "a length with a sign": lambda: signed("Content-Length: +15", sized=False),
    "a folded header": lambda: signed("X-A: b\r\n c"),
    "a blank before the colon": lambda: signed("X-A : b"),
    "a blank before the name": lambda: signed(" X-A: b"),
    "a bare CR": lambda: signed("X-A: b\rX-B: c"),
    "a NUL": lambda: signed("X-A: b\0"),
    "a chunk that is none": lambda: chunked(b"zz\r\na\r\n0\r\n\r\n"),
    "a chunk with a sign": lambda: chunked(b"+1\r\na\r\n0\r\n\r\n"),
    "a chunk in C's notation": lambda: chunked(b"0x1\r\na\r\n0\r\n\r\n"),
    "a chunk beyond 64 bits": lambda: chunked(b"f" * 17 + b"\r\na\r\n0\r\n\r\n"),
    "a chunk with LF alone": lambda: chunked(b"1\na\n0\n\n"),
    "a chunk that goes on": lambda: chunked(b"1\r\nabc\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused_and_closed(
    web: Web, what: str
) -> None:
    """The second request never is one: the connection ends with the refusal."""
    assert [400] == send(web.port, REFUSED[what]() + NEXT).statuses


def test_a_length_beside_chunks_is_ignored_and_the_connection_closed(web: Web) -> None:
    """As RFC 9112, 6.3 demands; the server's parser hides the length from us."""
    both = (f"Content-Length: {len(CHUNKS)}", "Transfer-Encoding: chunked")
    for headers in (both, both[::-1]):
        request = signed(*headers, body=CHUNKS, sized=False)

        assert [202] == send(web.port, request + NEXT).statuses


def test_lf_alone_ends_a_line_for_us_too(web: Web) -> None:
    """As RFC 9112, 2.2 allows; docs/security.md says why it does no harm here."""
    request = signed().replace(b"\r\n", b"\n")

    assert [202, 200] == send(web.port, request + NEXT).statuses


def test_an_underscored_signature_proves_nothing(web: Web) -> None:
    request = signed().lower().replace(b"stripe-signature", b"stripe_signature")
    request = request.replace(b"post", b"POST").replace(b"http/", b"HTTP/")

    assert [401] == send(web.port, request, answers=1).statuses


# --- The headers of every answer ------------------------------------------------------

SAMPLES = {
    "name": "stripe:cus_1", "id_": "a", "kind": "held", "action": "discard",
    "filename": "css/main.css", "instance_number": "0", "queue_name": "bridge",
    "registry_name": "failed", "per_page": "8", "order": "asc", "page": "1",
    "job_id": "a", "new_queue_name": "bridge", "external_id": "a", "account": "a",
}  # fmt: skip
"""Something for each part of an address."""


def routes(app: Flask, root: str) -> Iterator[tuple[str, str]]:
    """Method and path of every route of an app."""
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for name in rule.arguments:
            start, _, rest = path.partition("<")
            path = start + SAMPLES[name] + rest.partition(">")[2]
        for method in {"GET", "POST"} & (rule.methods or {"GET", "POST"}):
            yield method, root + path


@pytest.mark.parametrize("path", ["", "/queues", "/queues/0/view/jobs"])
def test_a_redirect_names_no_host(web: Web, path: str) -> None:
    login = make_headers(basic_auth=f"admin:{PASSWORD}")
    answer = web.ask(
        "GET", f"/console{path}", headers=login | {"Host": "evil"}, redirect=False
    )

    assert answer.headers.get("location", "/console/").startswith("/console/")
    assert b"evil" not in answer.data


def test_every_answer_has_its_headers_and_tells_no_version(
    web: Web, stack: Stack
) -> None:
    settings, config = load(stack.environ)
    watch = Watch.of(stack.redis, settings)
    app = create_app(settings, config, redis=stack.redis, watch=watch)
    console: Any = create_console(settings, config, stack.redis, None)
    ways = [*routes(app, ""), *routes(console, "/console")]
    ways += [("GET", path) for path in ("/", "/nothing", "/console", "/console.json")]
    ways += [("PUT", "/webhooks/stripe"), ("POST", "/webhooks/nobody")]
    login = make_headers(basic_auth=f"admin:{PASSWORD}")
    for method, path in ways:
        for more in ({}, login, login | {"X-Forwarded-Proto": "https, http"}):
            answer = web.ask(method, path, headers=more, redirect=False)
            found, where = answer.headers, (method, path, answer.status)
            is_file = "/static/" in path or path.endswith(".ico")
            secure = "max-age=31536000" if "X-Forwarded-Proto" in more else None

            assert 500 != answer.status, where
            assert "frame-ancestors 'none'" in found["content-security-policy"], where
            assert "nosniff" == found["x-content-type-options"], where
            assert "same-origin" == found["referrer-policy"], where
            assert is_file or "no-store" in found["cache-control"], where
            assert "vitally-bridge" == found["server"], where
            assert secure == found.get("strict-transport-security"), where
            assert not {"x-powered-by", "via"} & {name.lower() for name in found}


# --- Those who do not prove who they are ----------------------------------------------


def failing(web: Web, who: str, *, path: str = "/webhooks/stripe", times: int) -> float:
    """Fail from an address, one after another; the seconds that it took."""
    wrong = make_headers(basic_auth="admin:wrong-example")
    headers = {**wrong, "X-Forwarded-For": f"198.51.100.7, {who}"}
    headers["Stripe-Signature"] = f"t={time.time():.0f},v1=00"
    method = "POST" if path.startswith("/webhooks") else "GET"
    begun = time.monotonic()
    for _ in range(times):
        assert 401 == web.ask(method, path, headers=headers, body=BODY).status
    return time.monotonic() - begun


def test_failed_signatures_are_slowed_by_address_and_cost_neither_log_nor_redis(
    web: Web, stack: Stack
) -> None:
    def counted() -> tuple[int, int, int]:
        scripts = stack.redis.info("commandstats")
        calls = sum(
            s["calls"] for n, s in scripts.items() if n.startswith("cmdstat_ev")
        )
        refused = stack.figures().refused.get("stripe:mismatch", 0)
        return web.running.output.count('"status":401'), calls, refused

    lines, calls, refused = counted()
    fast, slow = (failing(web, "192.0.2.1", times=n) for n in (60, 5))
    proof = sign(STRIPE, SECRET, BODY, time.time()) | {"X-Forwarded-For": "192.0.2.1"}
    begun = time.monotonic()
    right = web.ask("POST", "/webhooks/stripe", headers=proof, body=BODY).status
    honest, other = time.monotonic() - begun, failing(web, "192.0.2.2", times=1)
    eventually(lambda: counted()[2] == refused + 66, what="the count")

    assert slow > 0.1 + 0.2 + 3 * 0.25
    assert max(fast / 60, honest, other) < 0.1
    assert 202 == right
    assert lines + 61 == counted()[0]
    assert 0 < counted()[1] - calls < 30


def test_wrong_passwords_are_slowed_by_address_and_the_right_one_is_not(
    web: Web,
) -> None:
    slow = failing(web, "192.0.2.1", path="/console/", times=5)
    other = failing(web, "192.0.2.2", path="/console/", times=1)
    login = make_headers(basic_auth=f"admin:{PASSWORD}")
    right = login | {"X-Forwarded-For": "192.0.2.1"}
    begun = time.monotonic()

    assert 200 == web.ask("GET", "/console.json", headers=right).status
    assert time.monotonic() - begun < 0.5
    assert slow > 0.1 + 0.2 + 0.4 + 0.8 + 1.0
    assert 0.1 < other < 0.5
