"""What waits for a person is found in the state, and clustered by cause."""

from __future__ import annotations

from bridge.attention import clusters
from bridge.config import Config
from bridge.reconcile import Reconciler
from bridge.store import keys
from tests.support.desk import customer, subscription
from tests.support.failures import FIVE, seed


def test_a_thousand_failures_of_five_causes_are_five_clusters(redis) -> None:
    names = seed(redis, 1000)

    made = clusters(redis)

    assert [200] * 5 == [one.size for one in made], [one.title for one in made]
    assert sorted(names) == sorted(one.name for c in made for one in c.things)
    assert sorted(kind for kind, _ in FIVE) == sorted(one.kind for one in made)
    assert all(one.cause and one.helps for one in made)


def test_a_held_party_tells_its_account_events_and_since_when(desk) -> None:
    desk.set(bridge_create="never")
    desk.does(customer("cus_1", account="acme"), customer("cus_1", called="B", at=9))

    ((one,),) = (c.things for c in clusters(desk.redis))

    assert ("held", "stripe:cus_1", "acme", 2) == (
        one.kind,
        one.name,
        one.account,
        one.events,
    )
    assert one.since == desk.redis.zscore(keys.HELD, "stripe:cus_1")


def test_nothing_waits_in_an_empty_bridge(redis) -> None:
    assert [] == clusters(redis)


def test_what_others_changed_in_vitally_is_a_cluster_for_each_trait(desk) -> None:
    for n in range(4):
        desk.rests(customer(f"cus_{n}", account=f"acme-{n}"), subscription(f"cus_{n}"))
    desk.client.update("acme-0", {"traits": {"mrr": 1}})
    desk.client.update("acme-1", {"traits": {"mrr": 2, "planName": "X"}})
    reader = Reconciler(desk.redis, desk.client, Config(), wait=lambda: None)
    for n in range(3):
        reader.look(f"acme-{n}")

    mrr, plan = clusters(desk.redis)

    assert ("drift", "mrr is not what the bridge wrote", 2) == (
        mrr.kind,
        mrr.title,
        mrr.size,
    )
    assert ["acme-1"] == [one.name for one in plan.things]
    assert [mrr.id] == [one.id for one in clusters(desk.redis, by_hand={"planName"})]
