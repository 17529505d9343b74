"""An API that lines of a table describe: what it asks, and what it makes of the answers.

What any API may answer wrongly: `test_http_api.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge.domain.facts import Rank
from bridge.domain.values import REFRESHED
from bridge.errors import SourceError, SourceUnreadError
from bridge.sources.generic import make
from bridge.sources.generic.api import GenericApi
from tests.support.local_api import ByPath, Reply

TABLE = {
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
READ = {
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

Make = Callable[..., GenericApi]


@pytest.fixture
def local() -> Iterator[ByPath]:
    with ByPath() as found:
        found.clock = lambda: 1_772_355_600.0
        rows = [{"id": 1, "stage_id": "s"}, {"id": 2}]
        found.replies = {
            "/companies/a%2Fb": Reply({"name": "Acme"}),
            "/companies/a%2Fb/deals": Reply({"rows": rows, "next": None}),
            "/stages/s": Reply({"price": 900}),
            "/deals/7": Reply({"company": "a/b"}),
        }
        yield found


@pytest.fixture
def made(local: ByPath) -> Iterator[Make]:
    """Makes the API of a table, and closes its connections in the end."""
    every: list[GenericApi] = []

    def api(key: str = "example-key", **more: Any) -> GenericApi:
        read = {**READ, "base": local.url, **more}
        source = make("crm", {**TABLE, "read": read}, {"EXAMPLE_KEY": key}).source
        assert source is not None
        found = source.api({})
        assert isinstance(found, GenericApi)
        every.append(found)
        return found

    yield api
    for one in every:
        one._http._pool.clear()


@pytest.fixture
def api(made: Make) -> GenericApi:
    return made()


def test_all_of_a_party_is_read_with_its_stamps(api: GenericApi) -> None:
    facts = api.party("crm:a/b")
    at = {fact.stamp.at for fact in facts}.pop()
    deal = {"status": "active", "currency": "usd"}

    assert {
        "customer": {"account": "a/b"},
        "name": {"name": "Acme"},
        "subscription:1": deal | {"items": [{"unit": "900", "interval": "month"}]},
        "subscription:2": deal | {"items": [{"interval": "month"}]},
        REFRESHED: {},
    } == {fact.thing: fact.value for fact in facts}
    assert {("crm:a/b", Rank.FROM_API, f"read:{at}", "read")} == {
        (fact.party, fact.stamp.rank, fact.event, fact.kind) for fact in facts
    }
    # Not after the moment in which it was asked, by the sender's clock.
    assert 1_772_355_600_000 - 5000 < at <= 1_772_355_600_000


def test_only_its_host_is_asked_with_its_key_and_quoted_ids(
    local: ByPath, api: GenericApi
) -> None:
    api.party("crm:a/b")

    assert ["/companies/a%2Fb", "/companies/a%2Fb/deals", "/stages/s"] == local.paths()
    assert {("Bearer example-key", "7")} == {
        (one.headers["authorization"], one.headers["X-Version"]) for one in local.log
    }


def test_the_owner_of_a_thing_is_asked_for(api: GenericApi) -> None:
    assert "crm:a/b" == api.owner("deal:7")
    assert None is api.owner("deal:8")
    with pytest.raises(SourceUnreadError, match=r"read\.owners has no ticket"):
        api.owner("ticket:8")


def test_a_reply_may_be_a_list_itself(local: ByPath, made: Make) -> None:
    local.replies["/deals/7"] = Reply([{"company": "a/b"}])
    local.replies["/companies/a%2Fb/deals"] = Reply([{"id": 3}])
    deals = {"deal": {"url": "/companies/{id}/deals", "each": "@"}}
    owners = {"deal": {"url": "/deals/{id}", "party": "[0].company"}}
    api = made(things=deals, owners=owners)

    assert "crm:a/b" == api.owner("deal:7")
    things = [fact.thing for fact in api.party("crm:a/b")]
    assert ["subscription:3", REFRESHED] == things


def test_a_party_that_is_not_there_has_no_facts(api: GenericApi) -> None:
    assert [] == api.party("crm:nobody")


@pytest.mark.parametrize("id_", ["..", ".", "", "a\nb", "a\ud800", "\x7f"])
def test_an_id_that_is_no_step_of_a_path_is_not_asked_for(
    local: ByPath, api: GenericApi, id_: str
) -> None:
    local.replies["/"] = local.replies["/companies"] = Reply({"company": "x"})

    assert ([], None, []) == (
        api.party(f"crm:{id_}"),
        api.owner(f"deal:{id_}"),
        local.paths(),
    )


def test_an_id_stays_in_its_folder(local: ByPath, api: GenericApi) -> None:
    ids = ("../7", "7?a=b#c", "%2e%2e", "7\\..", "//host")
    for id_ in ids:
        api.owner(f"deal:{id_}")

    quoted = ("..%2F7", "7%3Fa%3Db%23c", "%252e%252e", "7%5C..", "%2F%2Fhost")
    assert [f"/deals/{id_}" for id_ in quoted] == local.paths()


def test_a_key_may_be_that_of_basic_authentication(local: ByPath, made: Make) -> None:
    made(scheme="basic").owner("deal:7")
    made(scheme="basic", key="a:b").owner("deal:7")

    assert ["Basic ZXhhbXBsZS1rZXk6", "Basic YTpi"] == [
        one.headers["authorization"] for one in local.log
    ]


@pytest.mark.parametrize(
    ("reply", "words", "refused"),
    [
        (Reply({}, 401), r"refuses EXAMPLE_KEY \(401\)", True),
        (Reply({}, 403), r"EXAMPLE_KEY may not read /deals \(403\)", True),
        (Reply({}, 302, {"Location": "/stages/s"}), "answered 302", False),
        (Reply({"company": {"a": "secret"}}), "not understood: party", False),
        (Reply(b'"' + b"a" * 5_000_000 + b'"'), "cannot be read", False),
    ],
    ids=lambda value: None,
)
def test_what_goes_wrong_is_said_without_quoting(
    local: ByPath, api: GenericApi, reply: Reply, words: str, refused: bool
) -> None:
    local.replies["/deals/7"] = reply
    with pytest.raises(SourceError, match=words) as failed:
        api.owner("deal:7")

    assert refused == failed.value.refused
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
    local: ByPath, api: GenericApi, rows: Any
) -> None:
    local.replies["/companies/a%2Fb/deals"] = Reply(rows)
    with pytest.raises(SourceUnreadError):
        api.party("crm:a/b")


def test_without_its_key_there_is_no_api() -> None:
    read = {**READ, "base": "https://api.example.com"}
    source = make("crm", {**TABLE, "read": read}, {}).source

    assert source is not None
    assert (None, "EXAMPLE_KEY") == (source.api({}), source.key)
