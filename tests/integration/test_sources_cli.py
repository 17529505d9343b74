"""`vitally-bridge sources`, as a person calls it, and what captures keep in Redis."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
from redis import Redis

import bridge.sources.generic
from bridge import cli
from bridge.store import keys
from bridge.store.capture import LONGEST, Captures, ask, taken
from tests.support.server import RedisServer
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually

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
    assert any(line.startswith(f"mrr {mrr} ") for line in words(said.out))
    assert "account " in said.out


def test_what_belongs_to_no_customer_is_no_account(call: Call) -> None:
    file = "component_allocation_change__seats.form"
    said = call("try", "maxio", str(FIXTURES / "maxio" / file))

    assert (0, "") == (said.status, said.err)
    assert "It is told of no customer; it counts for all that use it." in said.out
    assert "account" not in said.out


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


@pytest.fixture
def captures(redis: Redis) -> Captures:
    return Captures(redis, ["shop", "paddle"])


BODY = b'{"type":"a","name":"Ada"}'


def test_nothing_is_kept_unless_it_is_asked_for(
    redis: Redis, captures: Captures
) -> None:
    captures.look()
    captures.offer("shop", BODY)

    assert [] == taken(redis, "shop")


def test_as_many_as_are_asked_for_are_kept_scrubbed(
    redis: Redis, captures: Captures
) -> None:
    ask(redis, "shop", 2, 1)
    captures.look()
    for source in ("shop", "paddle", "shop", "shop"):
        captures.offer(source, BODY)

    assert 0 == redis.exists(keys.capture("shop"))
    assert 0 < redis.ttl(keys.captured("shop")) <= 86_400
    first, second = taken(redis, "shop")
    assert first == second
    assert b"Ada" not in first
    assert b'"type":"a"' in first
    assert [] == taken(redis, "shop")


def test_several_processes_keep_no_more_together(redis: Redis) -> None:
    both = [Captures(redis, ["shop"]), Captures(redis, ["shop"])]
    ask(redis, "shop", 2, 1)
    for one in both:
        one.look()
    for one in both * 3:
        one.offer("shop", BODY)

    assert 2 == len(taken(redis, "shop"))


def test_a_wish_is_over_after_its_minutes(redis: Redis, captures: Captures) -> None:
    ask(redis, "shop", 2, 1)

    assert 0 < redis.ttl(keys.capture("shop")) <= 60
    captures.look()
    redis.delete(keys.capture("shop"))
    captures.look()
    captures.offer("shop", BODY)
    assert [] == taken(redis, "shop")


def test_what_is_too_long_or_unreadable_is_not_kept(
    redis: Redis, captures: Captures
) -> None:
    ask(redis, "shop", 2, 1)
    captures.look()
    captures.offer("shop", b'"' + b"a" * LONGEST + b'"')
    captures.offer("shop", b"<xml/>")

    assert [] == taken(redis, "shop")


def test_a_redis_that_is_gone_harms_nothing(captures: Captures) -> None:
    gone = Captures(Redis(port=1), ["shop"])
    gone.look()
    gone._wishes = {"shop": (1, b"salt")}
    gone.offer("shop", BODY)


def test_what_was_kept_is_written_as_fixtures(
    call: Call, redis: Redis, captures: Captures, tmp_path: Path
) -> None:
    asked = call("capture", "shop", "--count", "3", on=True)
    captures.look()
    captures.offer("shop", b'{"events":[{"type":"tier/set","tier":"gold"}]}')
    captures.offer("shop", b'{"odd":1}')
    captures.offer("shop", b"events[0][type]=a")
    folder = tmp_path / "new" / "fixtures"
    said = call("capture", "shop", "--take", str(folder), on=True)

    assert "the next 3 deliveries of shop are kept, for 60 min" in asked.out
    assert [
        "tier_set__captured_1.json",
        "unread__captured_2.json",
        "unread__captured_3.form",
    ] == sorted(path.name for path in folder.iterdir())
    assert "3 deliveries of shop were kept" in said.out
    assert 0 == redis.exists(keys.capture("shop"), keys.captured("shop"))


def test_a_running_bridge_keeps_what_it_took_and_not_what_it_refused(
    tmp_path: Path,
) -> None:
    with Stack(tmp_path) as stack:
        web = stack.web()
        shop, stripe = Shop(), Stripe([web.url])
        eventually(lambda: 202 == stripe.post(shop.begins()).status)
        ask(stack.redis, "stripe", 5, 1)

        def kept() -> bool:
            Stripe([web.url], "whsec_forged").post(shop.signs_up("Ada"))
            stripe.post(shop.changes())
            return stack.redis.llen(keys.captured("stripe")) > 0

        eventually(kept, what="a capture")
        found = taken(stack.redis, "stripe")

    assert {"customer.subscription.updated"} == {orjson.loads(b)["type"] for b in found}
