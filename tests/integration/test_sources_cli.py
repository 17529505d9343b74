"""`vitally-bridge sources`, as a person calls it, and sources that are observed."""

from __future__ import annotations

import tomllib
from functools import partial
from pathlib import Path

import orjson
import pytest

import bridge.sources.generic
from bridge.sources import discover
from bridge.store.quarantine import Kept, Quarantine
from bridge.webhook.examples import examples
from tests.support.command import Run, called
from tests.support.pages import PAGES, blocks, named
from tests.support.processes import ROOT
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe

FIXTURES = Path(bridge.sources.generic.__path__[0]) / "fixtures"
PADDLE = FIXTURES / "paddle/subscription.updated__monthly_yearly_and_one_time.json"
TOML = """
[sources.paddle]
recipe = "paddle"
[sources.shop]
verify = { scheme = "header", header = "x-token" }
secret_env = "SHOP_SECRET"
type = "type"
at = "at"
party = "who"
split = "events"
traits.tier = "tier"
"""

TOLD = [page for page in PAGES if "[sources." in "".join(blocks(page, "toml"))]
"""The pages that show the table of a source."""


@pytest.fixture
def sources(tmp_path: Path) -> Run:
    """Call `sources` with a file of two tables, of which one has its secret."""
    file = tmp_path / "bridge.toml"
    file.write_text(TOML)
    environ = {"BRIDGE_CONFIG": file, "SHOP_SECRET": "example-shop-secret"}
    return partial(called, "sources", environ=environ)


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_sources_and_the_recipes_are_listed(sources, tmp_path):
    lines = words(sources().out)
    assert "shop shop on" in lines
    assert "paddle Paddle Billing off: PADDLE_WEBHOOK_SECRET is not set" in lines
    assert "orb Orb tried with real deliveries" in lines
    assert "lago Lago untried: made from the vendor's pages" in lines
    data = sources("--json").json
    assert {"name": "shop", "title": "shop", "state": "on"} in data["sources"]
    assert {"name": "lago", "title": "Lago", "tried": False} in data["recipes"]
    (tmp_path / "bridge.toml").write_text(f"{TOML}observe = true\n")
    assert "shop shop on, observed: " in sources().line("shop")


@pytest.mark.parametrize(
    ("source", "file", "mrr"),
    [
        ("paddle", PADDLE, "197"),
        ("maxio", FIXTURES / "maxio/renewal_success__in_new_york_time.form", "99"),
    ],
)
def test_a_payload_is_tried_without_redis_or_signature(sources, source, file, mrr):
    """Of a source of bridge.toml, or of a recipe that no table uses."""
    said = sources("try", source, str(file))

    assert "" == said.err
    assert f"  {source}:" in said.out
    assert '"unit": "' in said.out
    assert f" pays {mrr} " in said.line(f"mrr {mrr} ")
    assert "account " in said.out


@pytest.mark.parametrize("page", TOLD, ids=named)
def test_the_tables_of_the_pages_read_a_payload(page, tmp_path):
    """Each block is a `bridge.toml`; a recorded delivery of each of its sources."""
    (shop,) = blocks(ROOT / "docs" / "sources.md", "json")
    deliveries = {"shop": shop.encode(), "paddle": PADDLE.read_bytes()}
    for name, source in discover().items():
        deliveries[name] = next(iter(examples(source).values()))
    for block in blocks(page, "toml"):
        (tmp_path / "bridge.toml").write_text(block)
        environ = {"BRIDGE_CONFIG": tmp_path / "bridge.toml"}
        for name in tomllib.loads(block).get("sources", {}):
            (tmp_path / "payload").write_bytes(deliveries[name])
            said = called(
                "sources", "try", name, str(tmp_path / "payload"), environ=environ
            )

            assert "" == said.err
            assert "quarantined" not in said.out


def test_what_belongs_to_no_customer_is_no_account(sources):
    file = FIXTURES / "maxio/component_allocation_change__seats.form"
    said = sources("try", "maxio", str(file))

    assert (
        "This names no customer; it applies to all customers that use it." in said.out
    )
    assert "account" not in said.out


def test_what_was_tried_is_data_too(sources):
    data = sources("try", "paddle", str(PADDLE), "--json").json

    (event,), (account,) = data["events"], data["accounts"]
    assert ("subscription.updated", None) == (event["type"], event["refusal"])
    things = [fact["thing"] for fact in event["facts"]]
    assert ["subscription:sub_0example", "customer"] == things
    mrr = account["traits"]["mrr"]
    assert (197, "19700") == (mrr["wanted"], mrr["because"][0]["monthly"])


def test_a_payload_of_stripe_can_be_tried_too(sources):
    folder = FIXTURES.parent.parent / "stripe" / "fixtures"
    file = next(folder.glob("customer.created__*.json"))

    assert "event evt_" in sources("try", "stripe", str(file)).out


@pytest.mark.parametrize(
    ("source", "body", "status", "said"),
    [
        ("paddle", {"event_type": "a.b"}, 0, "ignored: a.b has no effect"),
        (
            "paddle",
            {"event_type": "customer.created"},
            0,
            "quarantined: customer.created: customer.at: is not in the event",
        ),
        ("paddle", None, 1, "quarantined: the body cannot be read as json\n"),
        ("nobody", None, 1, "nobody: no such source"),
    ],
)
def test_trying_says_why_an_event_is_not_read(
    sources, tmp_path, source, body, status, said
):
    file = tmp_path / "payload"
    file.write_bytes(orjson.dumps({"event_id": "e", **body}) if body else b"{")

    out, err = sources("try", source, str(file), status=status)

    assert said in (err if status else out)


def test_trying_takes_headers_and_says_what_has_to_be_read(sources, tmp_path):
    headers = tmp_path / "headers"
    headers.write_bytes(b"HTTP/1.1 200\nX: caf\xe9\nRecurly-Notification-Id: n-7\n")
    thin = FIXTURES / "recurly" / "account.updated__thin.json"
    said = sources("try", "recurly", str(thin), "--headers", str(headers)).out

    assert "event n-7  account.updated" in said
    assert "has to be read from its source, with RECURLY_API_KEY" in said


def test_a_delivery_of_the_quarantine_is_tried_and_stays(sources, redis, redis_server):
    shelf = Quarantine(redis)
    event = {"type": "a", "at": 1_767_225_600, "who": "w", "tier": "gold"}
    body = orjson.dumps({"events": [event]})
    shelf.put(Kept("one", 0, "shop", "", "observed", body))
    kept = partial(sources, "try", "shop", REDIS_URL=redis_server.url)

    assert "tier gold" in kept("--quarantine", "one").line("tier")
    assert shelf.get("one") is not None
    said = kept("--quarantine", "two", status=1).err
    assert "two: not in the quarantine" in said


@pytest.mark.parametrize("both", [False, True])
def test_one_payload_is_tried(sources, both):
    given = (str(PADDLE), "--quarantine", "one") if both else ()

    assert "Usage: " in sources("try", "shop", *given, status=2).err


def test_what_an_observed_source_sends_is_kept_until_it_is_replayed(tmp_path):
    file = tmp_path / "bridge.toml"
    file.write_text("[sources.stripe]\nobserve = true\n")
    with Stack(tmp_path, BRIDGE_CONFIG=file) as stack:
        web, shop = stack.web(), Shop()
        forged = Stripe([web.url], "whsec_forged").post(shop.signs_up("Ada"))
        answer = Stripe([web.url]).post(shop.signs_up("Ada"))
        (kept,) = Quarantine(stack.redis).all()
        replayed = called("quarantine", "replay", "--all", environ=stack.environ)
        stack.worker()
        stack.settled()

        assert (401, 202) == (forged.status, answer.status)
        receipt = answer.told["receipt"], answer.told["reason"]
        assert ("quarantined", "observed") == receipt
        assert "customer.created" == orjson.loads(kept.body)["type"]
        assert f"{kept.id}  queued\n" == replayed.out
        assert [shop.id] == stack.creations()
