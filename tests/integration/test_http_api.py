"""The client that reads the APIs of all sources, over real HTTP."""

from __future__ import annotations

import gzip
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.errors import SourceError, SourceUnreadError
from bridge.sources.http import HttpApi, all_rows
from bridge.webhook.source import Page
from tests.support.local_api import Asked, LocalApi, Reply
from tests.support.raw import trickling

NOW = 1_795_914_000


class Shop(LocalApi):
    """Gives the same answer to everybody."""

    same = Reply()

    def answer(self, asked: Asked) -> Reply:
        return self.same


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as running:
        running.clock = lambda: NOW
        yield running


def api(shop: Shop, **more: Any) -> HttpApi:
    headers = {"Authorization": "Bearer example-key"}
    own: dict[str, Any] = {"headers": headers, "base": f"{shop.url}/"}
    return HttpApi(title="Shop", key="SHOP_KEY", **(own | more))


def where(shop: Shop) -> str:
    """The API as messages name it."""
    return f"Shop's API at {shop.url.removeprefix('http://')}"


def failure(shop: Shop, **more: Any) -> SourceError:
    with pytest.raises(SourceError) as raised:
        api(shop, **more).get("things")
    return raised.value


def test_its_key_is_not_in_its_repr(shop: Shop) -> None:
    assert "example-key" not in repr(api(shop))


def test_a_connection_is_kept_for_the_next_request(shop: Shop) -> None:
    client = api(shop)

    replies = [client.get("things", query={"page": n}) for n in range(3)]

    assert 3 == len([reply for reply in replies if reply])
    assert [[("page", str(n))] for n in range(3)] == [asked.query for asked in shop.log]
    assert 1 == len({asked.client for asked in shop.log})
    assert {"vitally-bridge"} == {asked.headers["User-Agent"] for asked in shop.log}


@pytest.mark.parametrize(
    ("id_", "paths"),
    [
        ("a/../b?c", ["/things/a%2F..%2Fb%3Fc"]),
        *((id_, []) for id_ in ("..", ".", "", "a\n", "a\nb", "a\ud800")),
    ],
)
def test_an_id_is_one_step_of_the_path_or_is_not_asked_for(
    shop: Shop, id_: str, paths: list[str]
) -> None:
    assert bool(paths) == bool(api(shop).get("things/{id}", id_))
    assert paths == shop.paths()


def test_a_reply_is_as_old_as_its_request(shop: Shop) -> None:
    gzipped = {"Content-Encoding": "gzip"}
    shop.same, shop.delay = Reply(gzip.compress(b'{"a": 1}'), 200, gzipped), 0.05

    reply = api(shop).get("things")

    assert reply is not None
    assert {"a": 1} == reply.body
    assert NOW * 1000 - 5000 < reply.at <= NOW * 1000 - 50


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_none(shop: Shop, status: int) -> None:
    shop.same = Reply(b"<html>", status)

    assert None is api(shop).get("things")


def test_a_400_is_an_error_unless_its_body_says_that_nothing_is_there(
    shop: Shop,
) -> None:
    shop.same = Reply({"code": "resource_missing"}, 400)

    assert None is api(shop, missing=b"resource_missing").get("things")
    assert failure(shop).reason.endswith(" answered 400 about things")


FEWER = "{} wants fewer requests (429)"
UNREADABLE = "Shop's reply about things cannot be read"


@pytest.mark.parametrize(
    ("reply", "reason", "wait"),
    [
        (Reply(status=429), FEWER, 2.0),
        (Reply(status=429, headers={"Retry-After": "7"}), FEWER, 7.0),
        (Reply(status=429, headers={"Retry-After": "soon"}), FEWER, 2.0),
        (
            Reply(status=302, headers={"Location": "/elsewhere"}),
            "{} answered 302 about things",
            None,
        ),
        (Reply(b"<html>secret", 502), "{} answered 502 about things", None),
        (Reply(headers={"Date": "secret"}), UNREADABLE, None),
        (Reply(b'"secret'), UNREADABLE, None),
        (Reply(["secret"]), UNREADABLE, None),
    ],
    ids=lambda value: None,
)
def test_what_goes_wrong_is_one_error_that_quotes_nothing(
    shop: Shop, reply: Reply, reason: str, wait: float | None
) -> None:
    shop.same = reply
    error = failure(shop)

    told = reason.format(where(shop)), wait, False
    assert told == (error.reason, error.retry_after, error.refused)
    assert ["/things"] == shop.paths()


@pytest.mark.parametrize(
    ("fault", "kind"), [("reset", "ProtocolError"), ("hang", "ReadTimeoutError")]
)
def test_a_connection_that_breaks_or_hangs_is_given_up(
    shop: Shop, fault: str, kind: str
) -> None:
    shop.fail(fault)

    error = failure(shop, timeout=0.2)

    assert f"{where(shop)} does not answer ({kind})" == error.reason


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        ("", b"A: b\r\n"),
        ("Content-Length: 1000\r\n\r\n", b"1\r\n \r\n"),
        ("Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
)
def test_a_reply_that_trickles_is_given_up_after_a_while(
    head: str, piece: bytes
) -> None:
    with trickling(head, piece) as base:
        client = HttpApi(title="Shop", key="KEY", base=base, headers={}, longest=0.3)

        with pytest.raises(SourceError, match=r"does not answer \(ReadTimeoutError\)"):
            client.get("things")


def test_an_api_that_is_not_there_is_an_error_with_its_address_but_not_the_key() -> (
    None
):
    with Shop() as shop:
        pass
    base = shop.url.replace("http://", "http://user:example-key@")

    error = failure(shop, base=f"{base}/")

    assert f"{where(shop)} does not answer (NewConnectionError)" == error.reason


def test_three_addresses_that_swallow_packets_share_the_time_out(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener with a full queue swallows them."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        found = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM) * 3
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        began = time.monotonic()

        error = failure(shop, base=f"http://shop.example:{port}/", timeout=0.6)

        took = time.monotonic() - began
        assert f"at shop.example:{port} does not answer" in error.reason
        for one in waiting:
            one.close()
    assert 0.5 < took < 1.2


def test_a_list_that_leads_back_is_left() -> None:
    following = {"": "a", "a": "b", "b": "a"}
    asked: list[str] = []

    def page(after: str) -> Page:
        asked.append(after)
        return Page([after], following[after])

    with pytest.raises(SourceUnreadError, match="leads back"):
        list(all_rows(page))
    assert ["", "a", "b"] == asked
    assert ["b"] == list(all_rows(lambda after: Page([after], ""), "b"))


def test_a_permission_that_lacks_is_named_where_the_source_says_it(shop: Shop) -> None:
    shop.same = Reply(b"secret things.read", 403)

    named = failure(shop, permission=re.compile(rb"\w+\.read"))

    reason = "SHOP_KEY may not read things (403)"
    assert f"{reason}: it lacks the permission things.read" == named.reason
    assert reason == failure(shop).reason
    assert named.refused


@pytest.mark.parametrize("key", ["a\nb", "☃"])
def test_a_key_that_no_header_can_hold_is_an_error_that_does_not_quote_it(
    shop: Shop, key: str
) -> None:
    error = failure(shop, headers={"Authorization": f"Bearer secret{key}"})

    assert "secret" not in str(error)
    assert None is error.__cause__
