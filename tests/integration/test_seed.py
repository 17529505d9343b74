"""Each row of Vitally's page of the Accounts API, through client, command and console.

https://docs.vitally.io/en/articles/9880654-rest-api-accounts. A row is asked once as the
page documents it; the client, the command and the console must ask exactly that, and show
what was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from html import escape
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import urllib3
from redis import Redis

from bridge.config import Config
from bridge.settings import Settings
from bridge.store.health import Watch
from bridge.vitally.client import Vitally
from bridge.vitally.simulator import BLANK
from bridge.web import create_app
from tests.support.command import Run
from tests.support.desk import Bench, settings
from tests.support.server import RedisServer
from tests.support.visitor import Visitor
from tests.support.waiting import eventually

ODD = "big/corp 1%.json"
"""An external id is any text; in an address it is percent-encoded."""

CHURNED = {"churnedAt": "2026-10-01T00:00:00.000Z"}


class Workspace:
    """A Vitally of two organizations and six accounts, two of them churned."""

    def __init__(self, desk: Bench) -> None:
        self.vitally = desk.vitally
        self.pool = urllib3.PoolManager(
            headers={"Authorization": desk.vitally.authorization}
        )
        self.org, self.other = (
            self.ask("POST", "organizations", {"externalId": name, "name": name})["id"]
            for name in ("holding/1", "other")
        )
        for n, name in enumerate(
            ["account-101", ODD, "a-3", "a-4", "left-1", "left-2"]
        ):
            traits = {"mrr": n, "tier": "gold"} if n < 4 else CHURNED
            body = {"externalId": name, "name": f"Big <Corp> {n}", "traits": traits}
            self.ask("POST", "accounts", body | {"organizationId": self.org})
        self.vitally.forget()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask as the page documents it; the answer."""
        url = f"{self.vitally.url}/resources/{path}"
        reply = self.pool.request(method, url, json=body)
        assert reply.status in {200, 204}, reply.data
        return reply.json() if reply.data else None

    def id(self, name: str) -> str:
        """Vitally's own id of an account."""
        found = self.vitally.account(name)
        assert found is not None
        return str(found["id"])

    def seen(self) -> tuple[str, str, dict[str, str], Any]:
        """The one request since the last look: method, path, query, body."""
        (one,) = self.vitally.log()
        self.vitally.forget()
        parts = urlsplit(one["path"])
        return one["method"], parts.path, dict(parse_qsl(parts.query)), one["body"]


@pytest.fixture
def workspace(desk: Bench) -> Iterator[Workspace]:
    made = Workspace(desk)
    yield made
    made.pool.clear()


@pytest.fixture
def client(desk: Bench) -> Iterator[Vitally]:
    with closing(Vitally(desk.vitally.url, desk.vitally.authorization)) as made:
        yield made


@pytest.fixture
def console(
    desk: Bench, redis_server: RedisServer, redis: Redis, watch: Watch
) -> Visitor:
    word = {"CONSOLE_USERNAME": "ada", "CONSOLE_PASSWORD": "console-example"}
    chosen = settings(desk.vitally.url, redis_server.url, **word)
    return Visitor(create_app(chosen, Config(), redis=redis, watch=watch), redis)


# --- What is read ----------------------------------------------------------------------


class Read(NamedTuple):
    """A row of the page: its *path*, and the words of the query that it documents."""

    heading: str
    path: str
    query: Mapping[str, Any] = {}

    def __str__(self) -> str:
        return f"{self.heading} /{self.path}?{urlencode(self.query)}"


LISTS = [
    Read("List Accounts GET", "accounts"),
    Read("List Accounts GET", "accounts", {"status": "active"}),
    Read("List Accounts GET", "accounts", {"status": "churned", "limit": 1}),
    Read("List Accounts GET", "accounts", {"status": "activeOrChurned", "limit": 4}),
    Read("List Accounts GET", "accounts", {"limit": 2, "from": "cursor"}),
    Read(
        "List Accounts GET",
        "accounts",
        {"limit": 2, "from": "cursor", "status": "active"},
    ),
    Read("List Accounts GET", "accounts", {"sortBy": "createdAt", "limit": 3}),
    Read("List Accounts For An Organization GET", "organizations/{org}/accounts"),
    Read("List Accounts For An Organization GET", "organizations/holding%2F1/accounts"),
    Read(
        "List Accounts For An Organization GET",
        "organizations/{org}/accounts",
        {"limit": 4, "from": "cursor", "sortBy": "createdAt"},
    ),
]

OURS = {"from": "cursor", "sortBy": "sort"}
"""The words of the query that we call otherwise than Vitally."""


@pytest.mark.parametrize("row", LISTS, ids=str)
def test_a_list_is_asked_and_shown_as_documented(
    row: Read, workspace: Workspace, client: Vitally, run: Run, console: Visitor
) -> None:
    path, query = row.path.format(org=workspace.org), {**row.query}
    if "from" in query:
        first = {k: v for k, v in query.items() if k != "from"}
        query["from"] = workspace.ask("GET", f"{path}?{urlencode(first)}")["next"]
        workspace.vitally.forget()
    whole = workspace.ask("GET", f"{path}?{urlencode(query)}")
    asked = workspace.seen()
    words = {OURS.get(name, name): value for name, value in query.items()}
    if "organizations" in path:
        words["organization"] = "holding/1" if "%" in path else workspace.org
    listed = client.accounts(**words)
    assert asked == workspace.seen()
    options = [f"--{name}={value}" for name, value in words.items()]
    printed = run("accounts", "list", *options, "--json").json
    assert asked == workspace.seen()
    page = console.page(f"vitally?{urlencode(words)}")
    assert asked == workspace.seen()
    data = console.data(f"vitally.json?{urlencode(words)}")

    assert whole["results"]
    assert whole == listed._asdict() == printed
    assert whole == {name: data[name] for name in ("results", "next")}
    for one in whole["results"]:
        assert f">{escape(one['name'])}</a>" in page
    assert ("next →" in page) == bool(whole["next"])


@pytest.mark.parametrize("id_", ["account-101", ODD, "Vitally's own"])
@pytest.mark.parametrize(
    "heading", ["Get An Account GET", "Get An Account's Health Score Breakdown GET"]
)
def test_an_account_is_found_by_either_id(
    heading: str,
    id_: str,
    workspace: Workspace,
    client: Vitally,
    run: Run,
    console: Visitor,
) -> None:
    id_ = workspace.id(ODD) if id_ == "Vitally's own" else id_
    is_health = "Health" in heading
    path = f"accounts/{quote(id_, safe='')}{'/healthScores' if is_health else ''}"
    whole = workspace.ask("GET", path)
    asked = workspace.seen()
    got = (client.health if is_health else client.get)(id_)
    assert asked == workspace.seen()
    printed = run("accounts", "health" if is_health else "get", id_, "--json").json
    assert asked == workspace.seen()
    name = quote(id_, safe="")
    page = console.page(f"vitally/{name}{'?html=' if id_.endswith('.json') else ''}")
    assert f"/resources/{path}" in [one["path"] for one in workspace.vitally.log()]
    data = console.data(f"vitally/{name}.json")

    assert whole == got == printed
    assert whole == data["health" if is_health else "account"]
    for field, value in whole.items():
        assert f'<th scope="row">{field}</th>' in page or field == "traits"
        assert (
            value is None
            or not isinstance(value, str)
            or value[:10] in page
            or "<" in value
        )


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("status=churned&organization=o", "a status does not go with an organization"),
        ("limit=101", "the limit of a page is 1 to 100"),
        ("limit=0", "the limit of a page is 1 to 100"),
        ("limit=ten", "the limit of a page is 1 to 100"),
    ],
)
def test_the_console_does_not_ask_what_the_command_refuses(
    workspace: Workspace, console: Visitor, asked: str, why: str
) -> None:
    assert why in console.get(f"/console/vitally?{asked}", 400).text
    assert [] == workspace.vitally.log()


def test_what_vitally_refuses_is_no_fault_of_its_own(
    workspace: Workspace, console: Visitor
) -> None:
    page = console.get("/console/vitally?status=all", 400).text

    assert "Vitally does not take this" in page
    assert "status must be one of" in page


@pytest.mark.usefixtures("workspace")
def test_an_organization_is_shown_without_the_health_that_it_has_not(
    console: Visitor, run: Run
) -> None:
    page = console.page("vitally/organization:other")

    assert "<h1>other</h1>" in page
    assert "/console/accounts/organization%3Aother" in page
    assert "Health" not in page
    said = run("accounts", "health", "organization:other", status=1).err
    assert "an organization has no health scores" in said


def test_odd_rows_are_shown_as_they_are(workspace: Workspace, console: Visitor) -> None:
    rows: list[Any] = [
        {"name": "None"},
        {"id": 7, "name": "Seven", "nextRenewalDate": 1.5, "churnedAt": True},
        {"externalId": "..", "name": "Above", "updatedAt": ["x"]},
        {"externalId": {"a": 1}, "name": None, "traits": []},
    ]
    odd = {"id": 7, "name": ["odd"], "traits": ["odd"]}
    for body in ({"results": rows, "next": None}, odd, {}):
        fault = {"kind": "status", "status": 200, "body": body}
        workspace.vitally.break_with([{**fault, "match": {"method": "GET"}}])
        page = console.page("vitally" if "results" in body else "vitally/account-101")
        if "results" in body:
            assert '<a href="/console/vitally/7">Seven' in page
            assert '<th scope="row">Above<br>' in page
        else:
            assert "It has no traits" in page


def test_only_so_many_pages_wait_for_vitally(
    workspace: Workspace, console: Visitor
) -> None:
    workspace.vitally.break_with([{"kind": "delay", "seconds": 1.0, "times": 2}])
    with ThreadPoolExecutor(2) as others:
        waiting = [others.submit(console.page, "vitally") for _ in range(2)]
        eventually(lambda: len(workspace.vitally.log()) == 2, what="two requests")
        said = console.get("/console/vitally", 409).text

    assert "Others wait for Vitally just now" in said
    assert all("Big" in one.result() for one in waiting)
    assert "Big" in console.page("vitally")


# --- What is written -------------------------------------------------------------------


class Written(NamedTuple):
    """A row: the *body* as documented, what is typed for it, and what is then so."""

    heading: str
    body: Mapping[str, Any]
    typed: str
    now: Mapping[str, Any]


UPDATES = [
    Written("name", {"name": "New Name"}, "--name|New Name", {"name": "New Name"}),
    Written(
        "traits are merged",
        {"traits": {"tier": "new value", "newTrait": 100}},
        "--trait|tier=new value|--trait|newTrait=100",
        {"traits": {"mrr": 1, "tier": "new value", "newTrait": 100}},
    ),
    Written(
        "null removes a trait",
        {"traits": {"tier": None}},
        "--trait|tier=null",
        {"traits": {"mrr": 1}},
    ),
    Written(
        "organizationId by its external id",
        {"organizationId": "other"},
        "--organization|other",
        {"organizationId": "{other}"},
    ),
    Written(
        "organizationId null removes it",
        {"organizationId": None},
        "--remove-organization",
        {"organizationId": None},
    ),
    Written(
        "accountOwnerId null removes it",
        {"accountOwnerId": None},
        "--remove-owner",
        {"accountOwnerId": None},
    ),
]


@pytest.mark.parametrize("by", ["externalId", "id"])
@pytest.mark.parametrize("row", UPDATES, ids=lambda row: row.heading)
def test_an_update_is_sent_as_documented_and_shown(
    row: Written,
    by: str,
    workspace: Workspace,
    client: Vitally,
    run: Run,
    console: Visitor,
) -> None:
    id_ = ODD if by == "externalId" else workspace.id(ODD)
    before = {name: workspace.vitally.account(ODD)[name] for name in row.now}  # type: ignore[index]
    asked = ("PUT", f"/resources/accounts/{quote(id_, safe='')}", {}, {**row.body})
    expected = {
        name: workspace.other if value == "{other}" else value
        for name, value in row.now.items()
    }
    got = client.update(id_, row.body)
    assert asked == workspace.seen()
    undone = {"organizationId": workspace.org, "name": before.get("name")}
    undo = {name: undone[name] for name in row.now if name in undone}
    if "traits" in row.body:
        undo = {"traits": {**dict.fromkeys(row.body["traits"]), **before["traits"]}}
    client.update(id_, undo)
    workspace.vitally.forget()
    printed = run("accounts", "update", id_, *row.typed.split("|"), "--json").json
    assert asked == workspace.seen()
    live = console.data(f"vitally/{quote(id_, safe='')}.json")["account"]

    for shown in (got, printed, live):
        assert expected == {name: shown[name] for name in expected}


def test_a_creation_is_sent_as_documented_and_shown(
    workspace: Workspace, client: Vitally, run: Run, console: Visitor
) -> None:
    """Create An Account POST: externalId, name, organizationId, traits."""
    body = {
        "externalId": "new/1",
        "name": "Big Corp",
        "traits": {"paymentMethod": "subscription"},
        "organizationId": workspace.org,
    }
    asked = ("POST", "/resources/accounts", {}, body)
    got = client.create(body)
    assert asked == workspace.seen()
    client.delete(got["id"])
    workspace.vitally.forget()
    typed = ("--name=Big Corp", "--trait=paymentMethod=subscription")
    typed += (f"--organization={workspace.org}", "--json")
    printed = run("accounts", "create", "new/1", *typed).json
    assert asked == workspace.seen()
    live = console.data(f"vitally/{quote('new/1', safe='')}.json")["account"]

    for shown in (got, printed, live):
        assert body == {name: shown[name] for name in body}


@pytest.mark.parametrize("by", ["externalId", "id"])
def test_a_deletion_is_sent_as_documented_and_gone(
    by: str, workspace: Workspace, client: Vitally, run: Run, console: Visitor
) -> None:
    """Delete An Account DELETE; the command asks for Vitally's id first, to show it."""
    id_ = ODD if by == "externalId" else workspace.id(ODD)
    other = workspace.id("account-101")
    client.delete(id_)
    asked = ("DELETE", f"/resources/accounts/{quote(id_, safe='')}", {}, None)
    assert asked == workspace.seen()
    run("accounts", "delete", other, "--confirm", "account-101")
    last = workspace.vitally.log()[-1]

    assert ("DELETE", f"/resources/accounts/{other}") == (last["method"], last["path"])
    for gone in (id_, other):
        answer = console.get(f"/console/vitally/{quote(gone, safe='')}.json", 404)
        assert "Not in Vitally" in answer.text


# --- The Account object ------------------------------------------------------------------

VIA_TRAITS = {
    "mrr": 12.5,
    "nextRenewalDate": "2026-12-01T00:00:00.000Z",
    "churnedAt": "2026-11-01T00:00:00.000Z",
    "trialEndDate": "2026-11-02T00:00:00.000Z",
}
BY_A_WRITE = {"name": "Other", "traits": {"a": 1}, "organizationId": "other"}
IN_APP = ("keyRoles", "segments")
OWNER = "accountOwnerId"


def way(attribute: str) -> str:
    """What the console says of who changes an attribute."""
    if attribute == OWNER:
        return "a write removes it, people set it"
    if attribute == "externalId":
        return "never after the creation"
    if attribute in IN_APP:
        return "by people"
    if attribute in VIA_TRAITS:
        return "by its trait"
    return "by a write" if attribute in BY_A_WRITE else "by Vitally"


def test_each_attribute_is_editable_as_documented(
    workspace: Workspace, client: Vitally, run: Run, console: Visitor
) -> None:
    """Its own field changes nothing, unless a write may; its trait changes its field."""
    page = console.page("vitally/account-101").partition('id="fields"')[2]
    ways, changed, by_trait = {"traits": way("traits")}, set(), {}
    for attribute in BLANK:
        _, _, row = page.partition(f'<th scope="row">{attribute}</th>')
        if attribute != "traits":
            ways[attribute] = row.partition("</tr>")[0].split('class="quiet">')[-1][:-5]
        was = client.get("account-101")[attribute]
        sent = BY_A_WRITE.get(attribute, VIA_TRAITS.get(attribute, "x"))
        body = {attribute: None if attribute == OWNER else sent}
        if client.update("account-101", body)[attribute] != was:
            changed.add(attribute)
    for attribute, value in VIA_TRAITS.items():
        run("accounts", "update", "account-101", f"--trait={attribute}={value}")
        by_trait[attribute] = client.get("account-101")[attribute]
    printed = run("accounts", "get", "account-101", "--json").json

    assert {attribute: way(attribute) for attribute in BLANK} == ways
    assert {*BY_A_WRITE, "updatedAt"} == changed
    assert VIA_TRAITS == by_trait
    assert list(BLANK) == list(printed)


# --- The addresses -----------------------------------------------------------------------

US, EU = "https://subdomain.rest.vitally.io", "https://rest.vitally-eu.io"
ADDRESSES: dict[str, Callable[[Vitally], Any]] = {
    "/resources/accounts": lambda v: v.accounts(),
    "/resources/organizations/o%2F1/accounts": lambda v: v.accounts(organization="o/1"),
    "/resources/accounts/id": lambda v: v.get("id"),
    "/resources/accounts/id/healthScores": lambda v: v.health("id"),
}


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize(
    ("environ", "base"),
    [({"VITALLY_SUBDOMAIN": "subdomain"}, US), ({"VITALLY_REGION": "eu"}, EU)],
)
def test_each_address_is_that_of_the_data_center(
    environ: dict[str, str], base: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def urlopen(pool: Any, method: str, url: str, **_: Any) -> None:
        asked.append(f"{method} {pool.scheme}://{pool.host}{url}")
        raise OSError

    monkeypatch.setattr(urllib3.HTTPSConnectionPool, "urlopen", urlopen)
    key = {"VITALLY_API_KEY": "sk_test_example"}
    chosen = Settings.from_env({**environ, **key}, without={"REDIS_URL"})
    own = Vitally(chosen.vitally_base_url, chosen.vitally_authorization)
    with closing(own) as vitally, pytest.raises(Exception, match="connection broke"):
        ADDRESSES[path](vitally)

    assert [f"GET {base}{path}"] == asked
