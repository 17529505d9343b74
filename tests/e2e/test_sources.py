"""Four senders all the way, some of which know the same account."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import orjson
import pytest
from redis import Redis
from urllib3 import BaseHTTPResponse, PoolManager, Timeout

from bridge.store.quarantine import Quarantine
from tests.sources.known import every
from tests.support import chargebee, local_hubspot, salesforce
from tests.support.chargebee import customer, event, instant, seconds, told
from tests.support.salesforce import ACCOUNT, account, deal, notification, stamp
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually

TABLES = """
[sources.hubspot]
account = "vitally_id"
[sources.hubspot.traits]
lifecycleStage = "lifecyclestage"
mrr = { property = "arr_guess", as = "number" }

[sources.salesforce]
account = "Vitally_Id__c"
[sources.salesforce.traits]
industry = "Industry"
seats = { field = "Seats__c", as = "number" }
lifecycleStage = "Stage__c"
[sources.salesforce.opportunities]
mrr = "MRR__c"
currency = "CurrencyIsoCode"
renews = "Renews__c"

[sources.chargebee]
account = "cf_vitally_id"
"""

STRANGERS = {known.name: known for known in every() if known.off is None}
POOL = PoolManager(maxsize=8, retries=False, timeout=Timeout(10))

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
    folder = tmp_path_factory.mktemp("sources")
    tables = folder / "bridge.toml"
    tables.write_text(TABLES, encoding="utf-8")
    environ = {
        "BRIDGE_CONFIG": tables,
        "BRIDGE_PUBLIC_URL": local_hubspot.PUBLIC,
        "HUBSPOT_CLIENT_SECRET": local_hubspot.SECRET,
        "SALESFORCE_ORG_ID": salesforce.ORG,
        "SALESFORCE_WEBHOOK_TOKEN": salesforce.TOKEN,
        "CHARGEBEE_WEBHOOK_USERNAME": chargebee.USERNAME,
        "CHARGEBEE_WEBHOOK_PASSWORD": chargebee.PASSWORD,
        "LOG_LEVEL": "DEBUG",
    }
    with Stack(folder, **environ) as stack:
        stack.web()
        stack.worker()
        yield stack.ready()


def send(bridge: Stack, body: bytes, token: str = salesforce.TOKEN) -> BaseHTTPResponse:
    """Post an outbound message of Salesforce's."""
    headers = {"content-type": "text/xml; charset=utf-8", "soapaction": '""'}
    url = salesforce.url(bridge.webs[0].url, token)
    return POOL.request("POST", url, body=body, headers=headers)


def tell(bridge: Stack, *events: chargebee.Json) -> list[Any]:
    """Post events of Chargebee's; what is answered to each."""
    url, headers = f"{bridge.webs[0].url}/webhooks/chargebee", chargebee.headers()
    bodies = [orjson.dumps(one) for one in events]
    answers = [POOL.request("POST", url, body=b, headers=headers) for b in bodies]
    assert [202] * len(events) == [answer.status for answer in answers]
    return [orjson.loads(answer.data) for answer in answers]


# --- Chargebee ------------------------------------------------------------------


def test_a_customer_subscribes_leaves_and_comes_back(bridge: Stack) -> None:
    own = {"cf_vitally_id": "acme-billed"}
    tell(
        bridge,
        told("subscription_created", 0, mrr=0, **own),
        event("customer_created", 0, customer=customer(**own)),
    )
    begun = {"mrr": 98, "nextRenewalDate": instant(30), "planName": "team-USD"}

    assert eventually(
        bridge.has("acme-billed", subscriptionStatus="active", churnedAt=None, **begun)
    )
    assert "Blue Door" == bridge.account("acme-billed")["name"]

    gone = {"status": "cancelled", "mrr": 0, "cancelled_at": seconds(30)}
    tell(bridge, told("subscription_cancelled", 31, **gone, **own))
    over = {"subscriptionStatus": "churned", "churnedAt": instant(30), "mrr": None}

    assert eventually(bridge.has("acme-billed", **over))

    back = told("subscription_reactivated", 40, mrr=5000, **own)
    late = told("subscription_changed", 29, mrr=100, **own)
    tell(bridge, back, late)

    assert eventually(bridge.has("acme-billed", mrr=50, churnedAt=None))


@pytest.mark.parametrize(
    ("body", "receipt", "reason"),
    [
        (event("invoice_updated", 1, invoice={"id": "1"}), "ignored", "invoices"),
        (
            told("subscription_changed", 1, status="asleep"),
            "quarantined",
            "content.subscription.status",
        ),
    ],
)
def test_what_is_not_read_is_answered_with_the_reason(
    bridge: Stack, body: chargebee.Json, receipt: str, reason: str
) -> None:
    (answer,) = tell(bridge, body)

    assert receipt == answer["receipt"]
    assert reason in answer["reason"]


# --- Salesforce -----------------------------------------------------------------


def test_an_account_and_its_deal_are_right_in_vitally(bridge: Stack) -> None:
    money = {"MRR__c": "450.5", "CurrencyIsoCode": "USD", "Renews__c": "2027-11-01"}
    own = {"Vitally_Id__c": "acme-known"}
    message = salesforce.message(
        deal(3, **money),
        account(2, Industry="Retail", Seats__c="25.0", **own),
        account(1, Name="Old", Industry="Mining", **own),
        notification("Contact", Id="003xx000004TmiQAAS"),
    )
    answer = send(bridge, message)

    assert (200, True) == (answer.status, b"<Ack>true</Ack>" in answer.data)
    assert eventually(
        bridge.has(
            "acme-known",
            industry="Retail",
            seats=25,
            mrr=450.5,
            nextRenewalDate="2027-11-01T00:00:00.000Z",
            subscriptionStatus="active",
        )
    )
    assert "Blue Door" == bridge.account("acme-known")["name"]

    # A message with few fields: what it does not select stays.
    few = notification("Account", Id=ACCOUNT, Industry="Energy", **stamp(4))
    send(bridge, salesforce.message(few))

    assert eventually(bridge.has("acme-known", industry="Energy", seats=25, mrr=450.5))
    assert "Blue Door" == bridge.account("acme-known")["name"]

    cleared = account(5, Industry=None, Seats__c=None)
    send(bridge, salesforce.message(cleared, deal(4, won=False)))
    empty = dict.fromkeys(("industry", "seats", "mrr"))

    assert eventually(bridge.has("acme-known", subscriptionStatus="churned", **empty))


def test_whatever_becomes_of_a_message_it_is_acknowledged(bridge: Stack) -> None:
    before = bridge.figures()
    again = account(Id="001xx000003DGb2AAG", Vitally_Id__c="again")
    answers = [
        send(bridge, salesforce.message(told))
        for told in (
            *(again, again),
            notification("Contact", Id="003xx000004TmiQAAS"),
            account(SystemModstamp=None),
            "<Notification/>",
        )
    ]
    after = bridge.figures()

    assert [(200, "text/xml; charset=utf-8")] * 5 == [
        (answer.status, answer.headers["content-type"]) for answer in answers
    ]
    assert all(b"<Ack>true</Ack>" in answer.data for answer in answers)
    assert (1, 1, 2) == (
        after.duplicate - before.duplicate,
        after.ignored - before.ignored,
        after.quarantined - before.quarantined,
    )
    reasons = [kept.reason for kept in Quarantine(bridge.redis).all()]
    assert any("SystemModstamp: Select it" in reason for reason in reasons)


# --- Any of them ----------------------------------------------------------------


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_refused_and_leaves_no_trace(bridge: Stack, name: str) -> None:
    known = STRANGERS[name]
    before = bridge.settled().received
    forged = known.signed(known.bodies[0].read_bytes(), known.secret[::-1])
    query = forged.url.partition("?")[2]
    url = f"{bridge.webs[0].url}/webhooks/{name}?{query}"
    answer = POOL.request("POST", url, body=forged.body, headers=forged.headers)

    assert 401 == answer.status
    assert before == bridge.figures().received


def test_no_secret_and_no_session_is_kept_or_logged(bridge: Stack) -> None:
    own = {"Id": "001xx000003DGb3AAG", "Vitally_Id__c": "once"}
    send(bridge, salesforce.message(account(SystemModstamp=None)))
    send(bridge, salesforce.message(account(Name="Told Once", **own)))
    send(bridge, salesforce.message(account(**own)), "wrong-token")
    send(bridge, salesforce.message(account(**own))[:-9])
    billed = {"id": "sub_3", "customer_id": "cb_3", "cf_vitally_id": "billed"}
    tell(bridge, told("subscription_created", 0, **billed))
    bridge.settled()
    state = [
        repr((key, READ[bridge.redis.type(key)](bridge.redis, key))).encode()
        for key in bridge.redis.scan_iter()
    ]
    kept = [one.body for one in Quarantine(bridge.redis).all()]
    logs = [one.output.encode() for one in (bridge.webs[0].running, *bridge.workers)]

    assert any(b"Told Once" in row for row in state)  # the scan sees what there is
    assert any(ACCOUNT.encode() in body for body in kept)
    for source in (b"salesforce", b"chargebee"):
        assert all(source in log for log in logs)
    for private in (
        *(salesforce.SESSION, "SessionId", salesforce.TOKEN, "wrong-token"),
        chargebee.PASSWORD,
        chargebee.headers()["authorization"].removeprefix("Basic "),
    ):
        assert not [r for r in (*state, *kept, *logs) if private.encode() in r], private


# --- One account of several -----------------------------------------------------


def test_a_crm_names_the_account_and_billing_says_what_it_pays(bridge: Stack) -> None:
    own = {"cf_vitally_id": "both"}
    billed = customer(id="cb_2", company="Billed Ltd", **own)
    tell(
        bridge,
        event("customer_created", 0, customer=billed),
        told("subscription_created", 0, id="sub_2", customer_id="cb_2", **own),
    )
    company = {"Id": "001xx000003DGb4AAG", "Name": "Known Inc"}
    bound = {"AccountId": company["Id"], "CurrencyIsoCode": "USD", "MRR__c": "7"}
    send(
        bridge,
        salesforce.message(
            account(1, Vitally_Id__c="both", **company),
            deal(1, Id="006xx000001a2bdAAA", **bound),
        ),
    )

    assert eventually(
        lambda: (
            bridge.account("both")["name"] == "Known Inc"
            and bridge.account("both")["traits"].get("mrr") == 98
        )
    )


class World:
    """What three systems say of one account, each saying to be posted by itself."""

    def __init__(self, number: int, bridge: Stack, stripe: Stripe) -> None:
        self.shop = Shop(prefix=f"acme{number}")
        self._number, self._bridge, self._stripe = number, bridge, stripe
        self.sayings = [self._customer, self._company, self._account]

    def _customer(self) -> None:
        shop = self.shop
        for one in (
            shop.signs_up("Acme (Stripe)"),
            shop.begins(),
            shop.changes(quantity=2),
        ):
            assert 202 == self._stripe.post(one).status

    def _company(self) -> None:
        id_ = 900_000 + self._number
        properties = {
            "vitally_id": self.shop.id,
            "name": "Acme (HubSpot)",
            "lifecyclestage": "customer",
            "arr_guess": "1",
        }
        changes = [
            local_hubspot.changed(id_, name, value, at=n)
            for n, (name, value) in enumerate(properties.items(), 1)
        ]
        sender = local_hubspot.Sender(self._bridge.webs[0].url)
        assert 202 == sender.post(local_hubspot.company("creation", id_), *changes)[0]

    def _account(self) -> None:
        record = account(
            Id=f"001xx{self._number:010d}AAA",
            Name="Acme (Salesforce)",
            Vitally_Id__c=self.shop.id,
            Industry="Retail",
            Stage__c="Prospect",
        )
        assert 200 == send(self._bridge, salesforce.message(record)).status


def test_three_systems_in_any_order_make_one_account(bridge: Stack) -> None:
    stripe = bridge.stripe()
    orders = list(permutations(range(3)))
    worlds = [World(n, bridge, stripe) for n in range(len(orders) + 1)]
    for world, order in zip(worlds, orders, strict=False):
        for n in order:
            world.sayings[n]()
        if order[0]:
            bridge.settled()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda say: say(), worlds[-1].sayings))
    bridge.settled()

    expected = {
        "mrr": 98,
        "subscriptionStatus": "active",
        "planName": "Pro",
        "lifecycleStage": "customer",
        "industry": "Retail",
    }
    for world in worlds:
        assert bridge.has(world.shop.id, **expected)()
        assert "Acme (HubSpot)" == bridge.account(world.shop.id)["name"]
        assert 1 == bridge.creations().count(world.shop.id)
    assert 0 == bridge.figures().held
    stripe.close()
