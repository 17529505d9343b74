"""An API that lines of a table describe: what it asks, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

import orjson
import pytest

from bridge.domain.facts import Rank
from bridge.domain.values import REFRESHED
from bridge.errors import SourceError, SourceUnreadError
from bridge.sources.generic import make
from bridge.sources.generic.api import GenericApi
from bridge.webhook.source import SourceApi

DATE = "Sun, 01 Mar 2026 09:00:00 GMT"
SAID = {
    "verify": "basic",
    "secret_env": "EXAMPLE_SECRET",
    "type": "type",
    "at": "at",
    "events": {
        "thin": {"thing": "deal", "id": "deal", "when": "deal.*"},
        "customer": {"when": "read.company", "party": "party", "name": "name"},
        "subscription": {
            "when": "read.deal",
            "party": "party",
            "id": "id",
            "currency": "'usd'",
            "mrr": {"amount": "stage.price"},
        },
    },
}
READS = {
    "key_env": "EXAMPLE_KEY",
    "headers": {"X-Version": "7"},
    "owners": {"deal": {"url": "/deals/{id}", "party": "company"}},
    "things": {
        "company": {"url": "/companies/{id}"},
        "deal": {
            "url": "/companies/{id}/deals",
            "each": "rows",
            "more": "next",
            "beside": {"stage": {"url": "/stages/{id}", "id": "stage_id"}},
        },
    },
}


MADE: list[GenericApi] = []
"""APIs whose connections are to be closed."""


class Reply(NamedTuple):
    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = {}


class LocalApi:
    """A sender's API: replies by path, and the requests that were made."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.asked: list[tuple[str, str, str]] = []
        local = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                key, version = self.headers["Authorization"], self.headers["X-Version"]
                local.asked.append((self.path, key, version))
                reply = local.replies.get(self.path, Reply({}, 404))
                body = reply.body
                told = body if isinstance(body, bytes) else orjson.dumps(body)
                self.send_response_only(reply.status)
                for name, value in ({"Date": DATE} | dict(reply.headers)).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def local() -> Iterator[LocalApi]:
    found = LocalApi()
    thread = Thread(target=found.server.serve_forever, args=(0.02,))
    thread.start()
    yield found
    for reads in MADE:
        reads._http._pool.clear()
    MADE.clear()
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture
def api(local: LocalApi) -> SourceApi:
    return made(local.url)


def made(url: str, key: str = "example-key", **more: Any) -> SourceApi:
    said = {**SAID, "read": {**READS, "base": url, **more}}
    found = make("crm", said, {"EXAMPLE_KEY": key})

    assert () == found.problems
    assert found.source is not None
    reads = found.source.api({})
    assert isinstance(reads, GenericApi)
    MADE.append(reads)
    return reads


def filled(local: LocalApi) -> None:
    local.replies = {
        "/companies/a%2Fb": Reply({"name": "Acme"}),
        "/companies/a%2Fb/deals": Reply(
            {"rows": [{"id": 1, "stage_id": "s"}, {"id": 2}], "next": None}
        ),
        "/stages/s": Reply({"price": 900}),
        "/deals/7": Reply({"company": "a/b"}),
    }


def test_all_of_a_party_is_read_with_its_stamps(
    local: LocalApi, api: SourceApi
) -> None:
    filled(local)
    facts = api.party("crm:a/b")
    at = {fact.stamp.at for fact in facts}.pop()

    assert {
        "customer": {"account": "a/b"},
        "name": {"name": "Acme"},
        "subscription:1": {
            "status": "active",
            "currency": "usd",
            "items": [{"unit": "900", "interval": "month"}],
        },
        "subscription:2": {
            "status": "active",
            "currency": "usd",
            "items": [{"interval": "month"}],
        },
        REFRESHED: {},
    } == {fact.thing: fact.value for fact in facts}
    assert {("crm:a/b", Rank.FROM_API, f"read:{at}", "read")} == {
        (fact.party, fact.stamp.rank, fact.event, fact.kind) for fact in facts
    }
    # Not after the moment in which it was asked, by the sender's clock.
    assert 1_772_355_600_000 - 5000 < at <= 1_772_355_600_000


def test_only_its_host_is_asked_with_its_key_and_quoted_ids(
    local: LocalApi, api: SourceApi
) -> None:
    filled(local)
    api.party("crm:a/b")

    assert [
        (path, "Bearer example-key", "7")
        for path in ("/companies/a%2Fb", "/companies/a%2Fb/deals", "/stages/s")
    ] == local.asked


def test_the_owner_of_a_thing_is_asked_for(local: LocalApi, api: SourceApi) -> None:
    filled(local)

    assert "crm:a/b" == api.owner("deal:7")
    assert None is api.owner("deal:8")
    with pytest.raises(SourceUnreadError, match=r"read\.owners has no ticket"):
        api.owner("ticket:8")


def test_a_party_that_is_not_there_has_no_facts(api: SourceApi) -> None:
    assert [] == api.party("crm:nobody")


@pytest.mark.parametrize("id_", ["..", ".", "", "a\nb", "a\ud800", "\x7f"])
def test_an_id_that_is_no_step_of_a_path_is_not_asked_for(
    local: LocalApi, api: SourceApi, id_: str
) -> None:
    local.replies["/"] = local.replies["/companies"] = Reply({"company": "x"})

    assert [] == api.party(f"crm:{id_}")
    assert None is api.owner(f"deal:{id_}")
    assert [] == local.asked


@pytest.mark.parametrize(
    ("id_", "path"),
    [
        ("../7", "/deals/..%2F7"),
        ("7?a=b#c", "/deals/7%3Fa%3Db%23c"),
        ("%2e%2e", "/deals/%252e%252e"),
        ("7\\..", "/deals/7%5C.."),
        ("//host", "/deals/%2F%2Fhost"),
    ],
)
def test_an_id_stays_in_its_folder(
    local: LocalApi, api: SourceApi, id_: str, path: str
) -> None:
    api.owner(f"deal:{id_}")

    assert [path] == [asked for asked, *_ in local.asked]


def test_a_key_may_be_that_of_basic_authentication(local: LocalApi) -> None:
    made(local.url, scheme="basic").owner("deal:7")
    made(local.url, scheme="basic", key="a:b").owner("deal:7")

    assert ["Basic ZXhhbXBsZS1rZXk6", "Basic YTpi"] == [
        key for _, key, _ in local.asked
    ]


@pytest.mark.parametrize(
    ("reply", "words", "wait", "refused"),
    [
        (Reply({}, 401), r"refuses EXAMPLE_KEY \(401\)", None, True),
        (Reply({}, 403), r"EXAMPLE_KEY may not read /deals \(403\)", None, True),
        (
            Reply({}, 429, {"Retry-After": "7"}),
            r"wants fewer requests \(429\)",
            7.0,
            False,
        ),
        (
            Reply({}, 429, {"Retry-After": "soon"}),
            r"wants fewer requests \(429\)",
            2.0,
            False,
        ),
        (Reply({}, 500), "answered 500", None, False),
        (Reply({}, 302, {"Location": "/deals/9"}), "answered 302", None, False),
        (Reply(b"secret {"), "cannot be read", None, False),
        (Reply({"company": {"a": "secret"}}), "not understood: party", None, False),
        (Reply({"company": "a"}, headers={"Date": "secret"}), "cannot be", None, False),
        (Reply(b'"' + b"a" * 5_000_000 + b'"'), "cannot be read", None, False),
    ],
    ids=lambda value: None,
)
def test_what_goes_wrong_is_said_without_quoting(
    local: LocalApi, api: SourceApi, reply: Reply, words: str, wait: Any, refused: Any
) -> None:
    local.replies = {"/deals/7": reply, "/deals/9": Reply({"company": "a"})}
    with pytest.raises(SourceError, match=words) as failed:
        api.owner("deal:7")

    assert (wait, refused) == (failed.value.retry_after, failed.value.refused)
    assert "secret" not in failed.value.reason
    assert "example-key" not in failed.value.reason


@pytest.mark.parametrize(
    "rows",
    [
        {"rows": None},
        {"rows": ["a"]},
        {"rows": [], "next": "x"},
        {"rows": [{"id": []}]},
    ],
    ids=str,
)
def test_a_list_that_is_not_whole_is_not_believed(
    local: LocalApi, api: SourceApi, rows: Any
) -> None:
    filled(local)
    local.replies["/companies/a%2Fb/deals"] = Reply(rows)
    with pytest.raises(SourceUnreadError):
        api.party("crm:a/b")


def test_nobody_there_is_a_failure_that_time_may_cure() -> None:
    with pytest.raises(SourceError, match="does not answer") as failed:
        made("http://127.0.0.1:1").party("crm:a")

    assert not failed.value.refused


def test_without_its_key_there_is_no_api() -> None:
    said = {**SAID, "read": {**READS, "base": "https://api.example.com"}}
    source = make("crm", said, {}).source

    assert source is not None
    assert (None, "EXAMPLE_KEY") == (source.api({}), source.key)
