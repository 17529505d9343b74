"""`vitally-bridge sources`, as a person calls it, and sources that are observed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
from redis import Redis

import bridge.sources.generic
from bridge import cli
from bridge.store.quarantine import Kept, Quarantine
from tests.support.processes import ROOT, environment
from tests.support.server import RedisServer
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe

FIXTURES = Path(bridge.sources.generic.__path__[0]) / "fixtures"
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


class Said(NamedTuple):
    status: int
    out: str
    err: str


Call = Callable[..., Said]


@pytest.fixture
def call(
    tmp_path: Path,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:
    """Call `sources` with a file of two tables, of which one has its secret."""
    file = tmp_path / "bridge.toml"
    file.write_text(TOML)
    monkeypatch.setenv("BRIDGE_CONFIG", str(file))
    monkeypatch.setenv("SHOP_SECRET", "example-shop-secret")

    def call(*arguments: str, on: bool = False) -> Said:
        if on:
            monkeypatch.setenv("REDIS_URL", redis_server.url)
        monkeypatch.setattr(sys, "argv", ["vitally-bridge", "sources", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return call


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_sources_and_the_recipes_are_listed(call: Call) -> None:
    said = call()

    assert 0 == said.status
    lines = words(said.out)
    assert "shop shop on" in lines
    assert "paddle Paddle Billing off: PADDLE_WEBHOOK_SECRET is not set" in lines
    assert "orb Orb tried with real deliveries" in lines
    assert "lago Lago untried: made from the vendor's pages" in lines
    data = orjson.loads(call("--json").out)
    assert {"name": "shop", "title": "shop", "state": "on"} in data["sources"]
    assert {"name": "lago", "title": "Lago", "tried": False} in data["recipes"]


@pytest.mark.parametrize("name", ["paddle", "recipe"])
def test_a_payload_is_tried_without_redis_or_signature(call: Call, name: str) -> None:
    source = {"paddle": "paddle", "recipe": "maxio"}[name]
    file = {
        "paddle": "subscription.updated__monthly_yearly_and_one_time.json",
        "maxio": "renewal_success__in_new_york_time.form",
    }[source]
    said = call("try", source, str(FIXTURES / source / file))

    assert (0, "") == (said.status, said.err)
    assert f"  {source}:" in said.out
    assert '"unit": "' in said.out
    mrr = {"paddle": "197", "maxio": "99"}[source]
    (why,) = (line for line in words(said.out) if line.startswith(f"mrr {mrr} "))
    assert f" pays {mrr} " in why
    assert "account " in said.out


def test_what_belongs_to_no_customer_is_no_account(call: Call) -> None:
    file = "component_allocation_change__seats.form"
    said = call("try", "maxio", str(FIXTURES / "maxio" / file))

    assert (0, "") == (said.status, said.err)
    assert "It is told of no customer; it counts for all that use it." in said.out
    assert "account" not in said.out


def test_what_was_tried_is_data_too(call: Call) -> None:
    file = (
        FIXTURES / "paddle" / "subscription.updated__monthly_yearly_and_one_time.json"
    )
    data = orjson.loads(call("try", "paddle", str(file), "--json").out)

    (event,), (account,) = data["events"], data["accounts"]
    assert ("subscription.updated", None) == (event["type"], event["refusal"])
    assert ["subscription:sub_0example", "customer"] == [
        fact["thing"] for fact in event["facts"]
    ]
    assert (197, "19700") == (
        account["traits"]["mrr"]["wanted"],
        account["traits"]["mrr"]["because"][0]["monthly"],
    )


def test_a_payload_of_stripe_can_be_tried_too(call: Call) -> None:
    folder = FIXTURES.parent.parent / "stripe" / "fixtures"
    file = next(folder.glob("customer.created__*.json"))
    said = call("try", "stripe", str(file))

    assert 0 == said.status, said.err
    assert "event evt_" in said.out


def test_trying_says_why_an_event_is_not_read(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(orjson.dumps({"event_id": "e", "event_type": "a.b"}))
    ignored = call("try", "paddle", str(file))
    file.write_bytes(orjson.dumps({"event_id": "e", "event_type": "customer.created"}))
    odd = call("try", "paddle", str(file))
    file.write_bytes(b"{")
    unread = call("try", "paddle", str(file))
    unknown = call("try", "nobody", str(file))

    assert "ignored: a.b has no effect" in ignored.out
    assert "quarantined: customer.created: customer.at: is not in the event" in odd.out
    assert (1, "vitally-bridge: quarantined: the body cannot be read as json\n") == (
        unread.status,
        unread.err,
    )
    assert "nobody: no such source" in unknown.err


def test_trying_takes_headers_and_says_what_has_to_be_read(
    call: Call, tmp_path: Path
) -> None:
    headers = tmp_path / "headers"
    headers.write_text("HTTP/1.1 200\nRecurly-Notification-Id: n-7\n")
    thin = FIXTURES / "recurly" / "account.updated__thin.json"
    said = call("try", "recurly", str(thin), "--headers", str(headers))

    assert "event n-7  account.updated" in said.out
    assert "has to be read from its source, with RECURLY_API_KEY" in said.out


def test_a_delivery_of_the_quarantine_is_tried_and_stays(
    call: Call, redis: Redis
) -> None:
    shelf = Quarantine(redis)
    event = {"type": "a", "at": 1_767_225_600, "who": "w", "tier": "gold"}
    body = orjson.dumps({"events": [event]})
    shelf.put(Kept("one", 0, "shop", "", "observed", body))
    said = call("try", "shop", "--quarantine", "one", on=True)
    unknown = call("try", "shop", "--quarantine", "two", on=True)

    assert "tier gold" in " ".join(words(said.out))
    assert shelf.get("one") is not None
    assert (1, True) == (unknown.status, "two: not in the quarantine" in unknown.err)


@pytest.mark.parametrize("arguments", [[], ["payload.json", "--quarantine", "one"]])
def test_one_payload_is_tried(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "payload.json").write_text("{}")

    assert 2 == call("try", "shop", *arguments).status


def test_a_source_that_is_observed_says_so(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bridge.toml").write_text(f"{TOML}observe = true\n")

    assert any(
        line.startswith("shop shop on, observed: ") for line in words(call().out)
    )


def test_what_an_observed_source_sends_is_kept_until_it_is_replayed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text("[sources.stripe]\nobserve = true\n")
    with Stack(tmp_path, BRIDGE_CONFIG=file) as stack:
        web, shop = stack.web(), Shop()
        forged = Stripe([web.url], "whsec_forged").post(shop.signs_up("Ada"))
        answer = Stripe([web.url]).post(shop.signs_up("Ada"))
        (kept,) = Quarantine(stack.redis).all()
        done = subprocess.run(
            [sys.executable, "-m", "bridge", "quarantine", "replay", "--all"],
            cwd=ROOT,
            env=environment(stack.environ),
            check=True,
            capture_output=True,
            text=True,
        )
        stack.worker()
        stack.settled()

        assert (401, 202) == (forged.status, answer.status)
        assert ("quarantined", "observed") == (
            answer.told["receipt"],
            answer.told["reason"],
        )
        assert "customer.created" == orjson.loads(kept.body)["type"]
        assert f"{kept.id}  queued\n" == done.stdout
        assert [shop.id] == stack.creations()
