"""Salesforce's outbound messages all the way: acknowledged, written, and no session kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from redis import Redis
from urllib3 import BaseHTTPResponse, PoolManager, Timeout

from bridge.store.quarantine import Quarantine
from tests.support.salesforce import (
    ACCOUNT,
    ORG,
    SESSION,
    TOKEN,
    account,
    deal,
    message,
    notification,
    stamp,
    url,
)
from tests.support.stack import Stack
from tests.support.waiting import eventually

RULES = """
[sources.salesforce]
account = "Vitally_Id__c"

[sources.salesforce.traits]
industry = "Industry"
seats = { field = "Seats__c", as = "number" }

[sources.salesforce.opportunities]
mrr = "MRR__c"
currency = "CurrencyIsoCode"
renews = "Renews__c"
"""

OTHER, ONCE = "001xx000003DGb2AAG", "001xx000003DGb3AAG"
"""Accounts of a test's own: the tests run in any order."""

READ: Mapping[bytes, Callable[[Redis, bytes], Any]] = {
    b"string": lambda redis, key: redis.get(key),
    b"hash": lambda redis, key: redis.hgetall(key),
    b"list": lambda redis, key: redis.lrange(key, 0, -1),
    b"set": lambda redis, key: redis.smembers(key),
    b"zset": lambda redis, key: redis.zrange(key, 0, -1, withscores=True),
    b"stream": lambda redis, key: redis.xrange(key),
    b"none": lambda *_: None,  # it ended while it was looked at
}


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("salesforce")
    rules = folder / "bridge.toml"
    rules.write_text(RULES, encoding="utf-8")
    environ = {
        "SALESFORCE_ORG_ID": ORG,
        "SALESFORCE_WEBHOOK_TOKEN": TOKEN,
        "BRIDGE_CONFIG": rules,
        "LOG_LEVEL": "DEBUG",
    }
    with Stack(folder, **environ) as stack:
        stack.web()
        stack.worker()
        yield stack.ready()


def post(bridge: Stack, body: bytes, token: str = TOKEN) -> BaseHTTPResponse:
    pool = PoolManager(retries=False, timeout=Timeout(10))
    headers = {"content-type": "text/xml; charset=utf-8", "soapaction": '""'}
    target = url(bridge.webs[0].url, token)
    return pool.request("POST", target, body=body, headers=headers)


def is_acknowledged(answer: BaseHTTPResponse) -> bool:
    kind = answer.headers["content-type"]
    return (
        answer.status == 200
        and kind.startswith("text/xml")
        and b"<Ack>true</Ack>" in answer.data
    )


def test_an_account_and_its_deal_are_right_in_vitally(bridge: Stack) -> None:
    told = [
        deal(3, MRR__c="450.5", CurrencyIsoCode="USD", Renews__c="2027-11-01"),
        account(2, Vitally_Id__c="acme", Industry="Retail", Seats__c="25.0"),
        account(1, Name="Old", Vitally_Id__c="acme", Industry="Mining"),
        notification("Contact", Id="003xx000004TmiQAAS"),
    ]

    assert is_acknowledged(post(bridge, message(*told)))
    assert eventually(
        bridge.has(
            "acme",
            industry="Retail",
            seats=25,
            mrr=450.5,
            nextRenewalDate="2027-11-01T00:00:00.000Z",
            subscriptionStatus="active",
        )
    )
    assert "Blue Door" == bridge.account("acme")["name"]

    # A message with few fields: what it does not select stays.
    few = notification("Account", Id=ACCOUNT, Industry="Energy", **stamp(4))
    post(bridge, message(few))

    assert eventually(bridge.has("acme", industry="Energy", seats=25, mrr=450.5))
    assert "Blue Door" == bridge.account("acme")["name"]

    empty = {"Industry": None, "Seats__c": None}
    post(bridge, message(account(5, **empty), deal(4, won=False)))

    assert eventually(
        bridge.has(
            "acme", industry=None, seats=None, mrr=None, subscriptionStatus="churned"
        )
    )


def test_whatever_becomes_of_a_message_it_is_acknowledged(bridge: Stack) -> None:
    before = bridge.figures()
    again = message(account(Id=OTHER, Vitally_Id__c="again"))
    answers = [
        post(bridge, again),
        post(bridge, again),
        post(bridge, message(notification("Contact", Id="003xx000004TmiQAAS"))),
        post(bridge, message(account(SystemModstamp=None))),
        post(bridge, message("<Notification/>")),
    ]
    after = bridge.figures()

    assert all(map(is_acknowledged, answers))
    assert (1, 1, 2) == (
        after.duplicate - before.duplicate,
        after.ignored - before.ignored,
        after.quarantined - before.quarantined,
    )
    reasons = [kept.reason for kept in Quarantine(bridge.redis).all()]
    assert any("SystemModstamp: Select it" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("org", "token"), [(ORG, "another-token"), ("00Dxx0000000002EAA", TOKEN)]
)
def test_a_stranger_is_refused_and_leaves_no_trace(
    bridge: Stack, org: str, token: str
) -> None:
    before = bridge.settled().received
    answer = post(bridge, message(account(9, Name="Stranger"), org=org), token)

    assert 401 == answer.status
    assert before == bridge.figures().received


def test_no_session_and_no_token_is_kept_or_logged(bridge: Stack) -> None:
    post(bridge, message(account(SystemModstamp=None)))
    post(bridge, message(account(Id=ONCE, Vitally_Id__c="once", Name="Told Once")))
    post(bridge, message(account(Id=ONCE)), "wrong-token")
    post(bridge, message(account(Id=ONCE))[:-9])
    bridge.settled()
    state = [
        repr((key, READ[bridge.redis.type(key)](bridge.redis, key))).encode()
        for key in bridge.redis.scan_iter()
    ]
    kept = [one.body for one in Quarantine(bridge.redis).all()]
    logs = [
        running.output.encode() for running in (bridge.webs[0].running, *bridge.workers)
    ]

    assert any(b"Told Once" in row for row in state)  # the scan sees what there is
    assert any(ACCOUNT.encode() in body for body in kept)
    assert all(b"salesforce" in log for log in logs)
    for private in (SESSION, "SessionId", TOKEN, "wrong-token"):
        seen = [row for row in (*state, *kept, *logs) if private.encode() in row]

        assert [] == seen, private
