"""The client that reads the APIs of all sources, over real HTTP."""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from bridge.errors import SourceError
from bridge.sources.http import HttpApi

NOW = "Sun, 29 Nov 2026 01:00:00 GMT"
NOW_MS = 1_795_914_000_000


class Answer(NamedTuple):
    """A reply of the local server."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = {}


class Server(ThreadingHTTPServer):
    """Gives the same *answer* to everybody; keeps paths, and clients' ports."""

    daemon_threads = True
    answer = Answer()

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paths: list[str] = []
        self.clients: set[int] = set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.clients.add(self.client_address[1])
        body, status, headers = self.server.answer
        self.send_response_only(status)
        for name, value in {"Date": NOW, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def api(server: Server, **more: Any) -> HttpApi:
    base = f"http://127.0.0.1:{server.server_address[1]}/"
    headers = {"Authorization": "Bearer example-key"}
    return HttpApi(title="Shop", key="SHOP_KEY", base=base, headers=headers, **more)


def test_a_connection_is_kept_for_the_next_request(server: Server) -> None:
    shop = api(server)

    replies = [shop.get("things", query={"page": n}) for n in range(3)]

    assert 3 == len([reply for reply in replies if reply])
    assert ["/things?page=0", "/things?page=1", "/things?page=2"] == server.paths
    assert 1 == len(server.clients)


@pytest.mark.parametrize(
    ("id_", "paths"),
    [("a/../b?c", ["/things/a%2F..%2Fb%3Fc"]), ("..", []), ("", []), ("a\n", [])],
)
def test_an_id_is_one_step_of_the_path_or_is_not_asked_for(
    server: Server, id_: str, paths: list[str]
) -> None:
    api(server).get("things/{id}", id_)

    assert paths == server.paths


def test_a_reply_is_as_old_as_its_request(server: Server) -> None:
    server.answer = Answer(
        gzip.compress(b'{"a": 1}'), 200, {"Content-Encoding": "gzip"}
    )

    reply = api(server).get("things")

    assert reply is not None
    assert {"a": 1} == reply.body
    assert NOW_MS - 5000 < reply.at < NOW_MS


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_none(server: Server, status: int) -> None:
    server.answer = Answer(b"<html>", status)

    assert None is api(server).get("things")


def test_a_400_is_an_error_unless_its_body_says_that_nothing_is_there(
    server: Server,
) -> None:
    server.answer = Answer(b'{"code": "resource_missing"}', 400)

    assert None is api(server, missing=b"resource_missing").get("things")
    with pytest.raises(SourceError, match="Shop's API answered 400 about things"):
        api(server).get("things")


@pytest.mark.parametrize(
    ("answer", "reason", "wait"),
    [
        (Answer(status=429), "Shop's API wants fewer requests (429)", 2.0),
        (
            Answer(status=429, headers={"Retry-After": "7"}),
            "Shop's API wants fewer requests (429)",
            7.0,
        ),
        (
            Answer(status=429, headers={"Retry-After": "soon"}),
            "Shop's API wants fewer requests (429)",
            2.0,
        ),
        (
            Answer(status=302, headers={"Location": "/elsewhere"}),
            "Shop's API answered 302 about things",
            None,
        ),
        (
            Answer(headers={"Date": "secret"}),
            "Shop's reply about things cannot be read",
            None,
        ),
        (Answer(b'"secret'), "Shop's reply about things cannot be read", None),
    ],
    ids=lambda value: None,
)
def test_what_goes_wrong_is_one_error_that_quotes_nothing(
    server: Server, answer: Answer, reason: str, wait: float | None
) -> None:
    server.answer = answer

    with pytest.raises(SourceError) as raised:
        api(server).get("things")

    assert (reason, wait) == (raised.value.reason, raised.value.retry_after)
    assert not raised.value.refused
    assert ["/things"] == server.paths


def test_a_permission_that_lacks_is_named_where_the_source_says_it(
    server: Server,
) -> None:
    server.answer = Answer(b"secret things.read", 403)

    with pytest.raises(SourceError) as raised:
        api(server, permission=re.compile(rb"\w+\.read")).get("things")
    with pytest.raises(SourceError) as untold:
        api(server).get("things")

    reason = "SHOP_KEY may not read things (403)"
    assert f"{reason}: it lacks the permission things.read" == raised.value.reason
    assert reason == untold.value.reason
    assert raised.value.refused


@pytest.mark.parametrize("key", ["a\nb", "☃"])
def test_a_key_that_no_header_can_hold_is_an_error_that_does_not_quote_it(
    server: Server, key: str
) -> None:
    shop = api(server)
    headers = {"Authorization": f"Bearer secret{key}"}

    with pytest.raises(SourceError) as raised:
        replace(shop, headers=headers).get("things")

    assert "secret" not in str(raised.value)
    assert None is raised.value.__cause__
