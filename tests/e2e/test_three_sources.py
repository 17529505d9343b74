"""One account that Stripe, HubSpot and Salesforce know, in whatever order they tell it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path

import pytest
from urllib3 import PoolManager, Timeout

from tests.support import local_hubspot, salesforce
from tests.support.local_hubspot import PUBLIC, SECRET
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe

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
lifecycleStage = "Stage__c"
"""

EXPECTED = {
    "mrr": 98,
    "subscriptionStatus": "active",
    "planName": "Pro",
    "lifecycleStage": "customer",
    "industry": "Retail",
}

Post = Callable[[], int]


@pytest.fixture
def three(tmp_path: Path) -> Stack:
    path = tmp_path / "bridge.toml"
    path.write_text(TABLES, encoding="utf-8")
    return Stack(
        tmp_path,
        BRIDGE_CONFIG=path,
        BRIDGE_PUBLIC_URL=PUBLIC,
        HUBSPOT_CLIENT_SECRET=SECRET,
        SALESFORCE_ORG_ID=salesforce.ORG,
        SALESFORCE_WEBHOOK_TOKEN=salesforce.TOKEN,
    )


class World:
    """What the three systems say of one account, each saying to be posted by itself."""

    def __init__(self, number: int, url: str, stripe: Stripe) -> None:
        self.shop = Shop(prefix=f"acme{number}")
        self._number, self._url, self._stripe = number, url, stripe
        self._hubspot = local_hubspot.Sender(url)
        self._pool = PoolManager(retries=False, timeout=Timeout(10))

    def sayings(self) -> list[Post]:
        shop, stripe = self.shop, self._stripe
        told = [shop.signs_up("Acme (Stripe)"), shop.begins(), shop.changes(quantity=2)]
        return [
            lambda: [stripe.post(one).status for one in told][-1],
            self._company,
            self._account,
        ]

    def _company(self) -> int:
        id_ = 900_000 + self._number
        said = {
            "vitally_id": self.shop.id,
            "name": "Acme (HubSpot)",
            "lifecyclestage": "customer",
            "arr_guess": "1",
        }
        changes = [
            local_hubspot.changed(id_, name, value, at=n)
            for n, (name, value) in enumerate(said.items(), 1)
        ]
        creation = local_hubspot.company("creation", id_)
        return self._hubspot.post(creation, *changes)[0]

    def _account(self) -> int:
        record = salesforce.account(
            Id=f"001xx{self._number:010d}AAA",
            Name="Acme (Salesforce)",
            Vitally_Id__c=self.shop.id,
            Industry="Retail",
            Stage__c="Prospect",
        )
        url = salesforce.url(self._url)
        headers = {"content-type": "text/xml; charset=utf-8"}
        body = salesforce.message(record)
        return self._pool.request("POST", url, body=body, headers=headers).status


def test_three_systems_in_any_order_make_one_account(three: Stack) -> None:
    with three as stack:
        web = stack.web()
        stack.worker()
        stripe = stack.ready().stripe()
        orders = list(permutations(range(3)))
        worlds = [World(n, web.url, stripe) for n in range(len(orders))]
        for world, order in zip(worlds, orders, strict=True):
            sayings = world.sayings()
            assert {200, 202} >= {sayings[n]() for n in order}
            if order[0]:
                stack.settled()
        at_once = World(len(orders), web.url, stripe)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda say: say(), at_once.sayings()))
        stack.settled(30)

        for world in (*worlds, at_once):
            found = stack.account(world.shop.id)
            assert EXPECTED == {t: found["traits"].get(t) for t in EXPECTED}
            assert "Acme (HubSpot)" == found["name"]
        assert sorted(w.shop.id for w in (*worlds, at_once)) == sorted(
            stack.creations()
        )
        assert 0 == stack.figures().held
        stripe.close()
