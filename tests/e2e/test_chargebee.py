"""Chargebee's events all the way, beside a CRM that knows the same account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from urllib3 import BaseHTTPResponse, PoolManager, Timeout

from tests.support import chargebee, salesforce
from tests.support.chargebee import Json, customer, event, instant, seconds, told
from tests.support.stack import Stack
from tests.support.waiting import eventually

RULES = """
[sources.chargebee]
account = "cf_vitally_id"

[sources.salesforce]
account = "Vitally_Id__c"

[sources.salesforce.opportunities]
mrr = "MRR__c"
currency = "USD"
"""


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("chargebee")
    rules = folder / "bridge.toml"
    rules.write_text(RULES, encoding="utf-8")
    environ = {
        "CHARGEBEE_WEBHOOK_USERNAME": chargebee.USERNAME,
        "CHARGEBEE_WEBHOOK_PASSWORD": chargebee.PASSWORD,
        "SALESFORCE_ORG_ID": salesforce.ORG,
        "SALESFORCE_WEBHOOK_TOKEN": salesforce.TOKEN,
        "BRIDGE_CONFIG": rules,
    }
    with Stack(folder, **environ) as stack:
        stack.web()
        stack.worker()
        yield stack.ready()


def post(
    bridge: Stack, body: bytes, headers: Mapping[str, str] | None = None
) -> BaseHTTPResponse:
    pool = PoolManager(retries=False, timeout=Timeout(10))
    target = f"{bridge.webs[0].url}/webhooks/chargebee"
    own = chargebee.headers() if headers is None else headers
    return pool.request("POST", target, body=body, headers=own)


def tell(bridge: Stack, *events: Json) -> list[Any]:
    """Post events; what is answered to each."""
    answers = [post(bridge, orjson.dumps(one)) for one in events]
    assert [202] * len(events) == [answer.status for answer in answers]
    return [orjson.loads(answer.data) for answer in answers]


def test_a_customer_subscribes_leaves_and_comes_back(bridge: Stack) -> None:
    tell(
        bridge,
        told("subscription_created", 0, mrr=0, cf_vitally_id="acme"),
        event("customer_created", 0, customer=customer(cf_vitally_id="acme")),
    )

    assert eventually(
        bridge.has(
            "acme",
            mrr=98,
            nextRenewalDate=instant(30),
            planName="team-USD",
            subscriptionStatus="active",
            churnedAt=None,
        )
    )
    assert "Blue Door" == bridge.account("acme")["name"]

    gone = {"status": "cancelled", "mrr": 0, "cf_vitally_id": "acme"}
    tell(bridge, told("subscription_cancelled", 31, cancelled_at=seconds(30), **gone))

    assert eventually(
        bridge.has(
            "acme", mrr=None, churnedAt=instant(30), subscriptionStatus="churned"
        )
    )

    back = told("subscription_reactivated", 40, mrr=5000, cf_vitally_id="acme")
    late = told("subscription_changed", 29, mrr=100, cf_vitally_id="acme")
    tell(bridge, back, late)

    assert eventually(bridge.has("acme", mrr=50, churnedAt=None))


def test_a_crm_names_the_account_and_billing_says_what_it_pays(bridge: Stack) -> None:
    own = {"cf_vitally_id": "both"}
    pool = PoolManager(retries=False, timeout=Timeout(10))
    tell(
        bridge,
        event(
            "customer_created",
            0,
            customer=customer(id="cb_2", company="Billed Ltd", **own),
        ),
        told("subscription_created", 0, id="sub_2", customer_id="cb_2", **own),
    )
    named = salesforce.account(1, Name="Known Inc", Vitally_Id__c="both")
    pool.request(
        "POST",
        salesforce.url(bridge.webs[0].url),
        body=salesforce.message(named, salesforce.deal(1, MRR__c="7")),
    )

    def right() -> bool:
        found = bridge.account("both")
        assert ("Known Inc", 98) == (found["name"], found["traits"].get("mrr"))
        return True

    assert eventually(right)


def test_an_event_without_effect_is_ignored_with_the_reason(bridge: Stack) -> None:
    (answer,) = tell(bridge, event("invoice_updated", 1, invoice={"id": "1"}))

    assert "ignored" == answer["receipt"]
    assert "invoices" in answer["reason"]


def test_what_cannot_be_read_is_quarantined_with_the_reason(bridge: Stack) -> None:
    (answer,) = tell(bridge, told("subscription_changed", 1, status="asleep"))

    assert "quarantined" == answer["receipt"]
    assert "content.subscription.status" in answer["reason"]


@pytest.mark.parametrize("headers", [{}, chargebee.headers(password="wrong")])
def test_a_stranger_is_refused_and_leaves_no_trace(
    bridge: Stack, headers: dict[str, str]
) -> None:
    before = bridge.settled().received
    answer = post(bridge, orjson.dumps(told("subscription_changed", 1)), headers)

    assert 401 == answer.status
    assert before == bridge.figures().received


def test_no_password_is_logged(bridge: Stack) -> None:
    own = {"id": "sub_3", "customer_id": "cb_3", "cf_vitally_id": "logged"}
    tell(bridge, told("subscription_created", 0, **own))
    bridge.settled()
    secrets = [
        chargebee.PASSWORD,
        chargebee.headers()["authorization"].removeprefix("Basic "),
    ]
    logs = [bridge.webs[0].running.output, bridge.workers[0].output]

    assert all("chargebee" in log for log in logs)
    assert not [s for s in secrets for log in logs if s in log]
