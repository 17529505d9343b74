"""The night of who is on call: one message when it begins, one when it is over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

import orjson
import pytest

from bridge.lamps import FORGED
from tests.support.hook import Hook
from tests.support.stack import KEY, Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with Hook() as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[Stack]:
    urls = {
        "BRIDGE_ALERT_URL": f"{hook.url}/alert, {hook.url}/second",
        "BRIDGE_HEARTBEAT_URL": f"{hook.url}/beat",
    }
    with Stack(tmp_path_factory.mktemp("alerts"), **urls) as running:
        running.web()
        running.web()
        running.worker(WORKER_PROCESSES=2)
        yield running.ready()


def test_a_refused_key_is_told_once_and_once_more_when_all_is_written(
    stack: Stack, hook: Hook
) -> None:
    """Key revoked, alert, red; key restored, drained, over; nothing in between."""
    hook.forget()
    web, stripe, shops = stack.webs[0], stack.stripe(), [Shop(), Shop(), Shop()]
    stack.vitally.rotate("sk_other_example")
    for shop in shops:
        stripe.post(shop.signs_up())
    eventually(lambda: hook.told() == [("key_refused", "raised")])
    status, page = web.get("/readyz")
    reason = "All writes have stopped: Vitally refuses the key (401)"
    assert 503 == status
    assert orjson.loads(page)["reasons"][0].startswith(reason)
    stack.vitally.rotate(KEY)
    stack.settled()
    eventually(lambda: len(hook.told()) == len(hook.told("/second")) == 2)

    assert [("key_refused", "raised"), ("key_refused", "over")] == hook.told()
    raised, over = hook.bodies()
    assert hook.bodies("/second") == [raised, over]
    assert raised["text"].startswith(f"vitally-bridge: {reason}")
    assert "Check VITALLY_API_KEY" in raised["text"]
    assert "vitally-bridge: Over after" in over["text"]
    assert raised["since"] == over["since"]
    assert datetime.fromisoformat(raised["since"]).tzinfo
    assert 200 == web.get("/readyz")[0]
    assert {shop.id for shop in shops} <= set(stack.creations())
    assert any(asked.path == "/beat" for asked in hook.log)
    logged = "".join(p.read_text() for p in stack.folder.glob("*.log"))
    assert hook.url not in logged


def test_an_outage_and_a_wrong_secret_are_told(stack: Stack, hook: Hook) -> None:
    hook.forget()
    web, shop = stack.webs[0], Shop()
    stack.vitally.break_with([{"kind": "status", "status": 502, "times": None}])
    stack.stripe().post(shop.signs_up())
    stranger = Stripe([web.url for web in stack.webs], "whsec_other_example")
    answers = {stranger.post(shop.begins()).status for _ in range(12)}
    eventually(lambda: "Vitally has failed" in web.get("/readyz")[1])
    eventually(lambda: ("vitally_failing", "raised") in hook.told())
    stack.vitally.mend()
    stack.settled()
    eventually(lambda: ("vitally_failing", "over") in hook.told())

    assert {401} == answers
    expected = {("wrong_signatures", "raised"), ("vitally_failing", "raised")}
    assert sorted({*expected, ("vitally_failing", "over")}) == sorted(hook.told())
    text = next(b["text"] for b in hook.bodies() if b["kind"] == "wrong_signatures")
    said = re.search(r"(\d+) deliveries in the last hour had a wrong signature", text)
    # As many as had come when it was raised.
    assert said
    assert FORGED <= int(said[1]) <= 12
    assert "is STRIPE_WEBHOOK_SECRET that of this endpoint?" in text
    page = web.get("/metrics")[1]
    assert (
        'vitally_bridge_refused_total{reason="mismatch",source="stripe"} 12.0' in page
    )
