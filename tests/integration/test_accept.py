"""How facts come in: in how many round trips, with which receipt, under which claim."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from bridge.ingest import Ingress, Receipt
from bridge.sources import discover
from bridge.store import keys
from bridge.webhook.source import Delivery
from tests.support.desk import (
    NOON,
    QUEUE,
    Bench,
    customer,
    settings,
    subscription,
)
from tests.support.round_trips import round_trips
from tests.support.server import RedisServer

ODD = ["a b/ü%", "x" * 200, "a:b", 'quote"\\back', "emoji-🙂", "{tag}*?[a]"]


def stripe(ingress: Ingress, event: dict[str, Any]) -> Receipt:
    """Deliver *event*, signed."""
    body = json.dumps(event).encode()
    at = NOON // 1000
    signed = hmac.new(b"whsec_example", b"%d." % at + body, hashlib.sha256).hexdigest()
    headers = {"stripe-signature": f"t={at},v1={signed}"}
    delivery = Delivery("POST", "/webhooks/stripe", headers, body)
    return ingress.receive(ingress.sources["stripe"], delivery, at)


def event(number: int, kind: str, **of: Any) -> dict[str, Any]:
    thing = {"id": "cus_1", "object": "customer", "name": "Acme", "metadata": {}}
    return {
        "id": f"evt_{number}",
        "object": "event",
        "type": kind,
        "created": NOON // 1000 + number,
        "livemode": True,
        "data": {"object": thing | of},
    }


def sub_event(number: int, kind: str = "updated", **of: Any) -> dict[str, Any]:
    sub = {"id": "sub_1", "object": "subscription", "customer": "cus_1"}
    more = {"status": "active", "currency": "usd", "items": {"data": []}}
    return event(number, f"customer.subscription.{kind}", **(sub | more | of))


@pytest.fixture
def ingress(desk: Bench, redis_server: RedisServer) -> Ingress:
    said = settings(desk.vitally.url, redis_server.url)
    return Ingress(said, desk.redis, discover().values())


def test_an_event_is_one_round_trip_and_a_second_where_it_queues_a_job(
    ingress: Ingress, desk: Bench
) -> None:
    stripe(ingress, event(1, "customer.updated"))
    desk.work()

    queueing = round_trips(desk.redis, lambda: stripe(ingress, sub_event(2)))
    joining = round_trips(desk.redis, lambda: stripe(ingress, sub_event(3)))

    assert ["EVALSHA", "MULTI"] == queueing
    assert ["EVALSHA"] == joining


def test_another_rendering_of_an_event_is_kept_beside_it(
    ingress: Ingress, desk: Bench
) -> None:
    half = {"id": "HALF", "percent_off": 50, "duration": "forever"}
    price = {"id": "price_1", "unit_amount": 1000, "recurring": {"interval": "month"}}
    items = {"items": {"data": [{"price": price}]}}
    old = sub_event(1, **items, discount={"id": "di_1", "coupon": half})
    new = sub_event(1, **items, discounts=["di_1"])

    receipts = [stripe(ingress, each).receipt for each in (new, old, new, old)]

    assert ["queued", "coalesced", "duplicate", "duplicate"] == receipts
    desk.work()
    assert 5 == desk.traits("cus_1")["mrr"]
    receipts = [stripe(ingress, each).receipt for each in (new, old)]
    assert ["duplicate", "duplicate"] == receipts
    figures = desk.check()
    assert (6, 2, 4, 2) == (
        figures.received,
        figures.accepted,
        figures.duplicate,
        figures.settled,
    )


def test_renderings_of_what_is_over_go_with_it(ingress: Ingress, desk: Bench) -> None:
    old = sub_event(1, discount={"id": "di_1"}), sub_event(1, discounts=["di_1"])
    newer = sub_event(2), sub_event(2, current_period_end=1_800_000_000)
    final = sub_event(3, "deleted")

    for each in (*old, *newer):
        stripe(ingress, each)
    desk.work()
    assert 4 == desk.redis.hlen(keys.facts("stripe:cus_1"))
    desk.passes(60_000)
    stripe(ingress, final)
    desk.work()
    assert "duplicate" == stripe(ingress, old[1]).receipt

    left = desk.redis.hkeys(keys.facts("stripe:cus_1"))
    assert sorted([b"subscription:sub_1\t", b"subscription:sub_1\tevt_3"]) == sorted(
        left
    )


def test_an_id_used_for_two_events_is_no_repetition(
    ingress: Ingress, desk: Bench
) -> None:
    """As in examples that people post: one id for whatever happens."""
    told = [
        event(1, "customer.updated"),
        sub_event(1),
        sub_event(1, "created", id="sub_2"),
        sub_event(1, id="sub_3"),
        sub_event(1, "updated", status="past_due") | {"created": NOON // 1000 + 9},
    ]
    same = [each | {"id": "evt_0"} for each in told]

    receipts = [stripe(ingress, each).receipt for each in same]
    desk.work()

    assert "duplicate" not in receipts
    assert ["duplicate"] * 5 == [stripe(ingress, each).receipt for each in same]
    assert "past_due" == desk.traits("cus_1")["subscriptionStatus"]


def test_the_receipts_tell_queued_coalesced_duplicate_ignored_and_quarantined(
    ingress: Ingress, desk: Bench
) -> None:
    told = [
        stripe(ingress, event(1, "customer.created")).receipt,
        stripe(ingress, sub_event(2)).receipt,
        stripe(ingress, sub_event(2)).receipt,
        stripe(ingress, event(3, "charge.updated")).receipt,
        stripe(ingress, sub_event(4, status=7)).receipt,
    ]

    assert ["queued", "coalesced", "duplicate", "ignored", "quarantined"] == told
    counted = desk.check()
    assert (5, 2, 1, 1, 1) == (
        counted.received,
        counted.accepted,
        counted.duplicate,
        counted.ignored,
        counted.quarantined,
    )


def test_a_duplicate_of_a_settled_event_queues_nothing(desk: Bench) -> None:
    fact = customer()
    desk.tell(fact)
    desk.work()

    again = desk.tell(fact)

    assert ("duplicate", 0) == (again.receipt, again.claim)
    assert 0 == desk.queue.depth()
    assert set() == desk.dirty()


def test_an_event_that_the_ring_forgot_changes_nothing_either(desk: Bench) -> None:
    first = subscription(at=1, unit=100)
    desk.tell(customer(), first)
    desk.tell(*(subscription(at=at, unit=100 * at) for at in (2, 3)))
    desk.work()
    desk.redis.delete(keys.RECENT)

    again = desk.tell(first)

    assert "queued" == again.receipt
    assert ["unchanged"] == desk.work()
    assert 3 == desk.traits()["mrr"]
    assert b"subscription:sub_1\t%b" % first.event.encode() not in desk.redis.hgetall(
        keys.facts("stripe:cus_1")
    )


def test_a_fresh_claim_without_a_job_is_left_to_whoever_made_it(desk: Bench) -> None:
    first = desk.take(subscription(at=1))
    second = desk.take(subscription(at=2))

    assert ("queued", 1) == (first.receipt, first.claim)
    assert ("coalesced", 0) == (second.receipt, second.claim)
    assert "wanted" == desk.claim()["claim"]


def test_a_stale_claim_without_a_job_is_taken_up_by_the_next_event(desk: Bench) -> None:
    desk.take(subscription(at=1))
    desk.passes(2500)

    taken = desk.tell(subscription(at=2))

    assert ("queued", 2) == (taken.receipt, taken.claim)
    assert "queued" == desk.claim()["claim"]
    assert [b"stripe-cus_1-2"] == desk.redis.lrange(QUEUE, 0, -1)


def test_a_stale_claim_without_a_job_is_taken_up_by_a_repeat_too(desk: Bench) -> None:
    fact = subscription(at=1)
    desk.take(fact)
    desk.passes(2500)

    taken = desk.tell(fact)

    assert ("duplicate", 2) == (taken.receipt, taken.claim)
    assert 1 == desk.queue.depth()


def test_an_event_during_a_job_leads_to_exactly_one_more(desk: Bench) -> None:
    desk.tell(customer())
    job = desk.pop()
    assert job is not None
    for at in range(5):
        assert "coalesced" == desk.tell(subscription(at=at, unit=100 + at)).receipt

    desk.jobs.run(job.args[0])

    assert 0 == desk.queue.depth()
    assert 1.04 == desk.traits()["mrr"]


def test_one_event_of_two_parties_counts_for_each(desk: Bench) -> None:
    desk.tell(customer("cus_1", event="evt_both"), customer("cus_2", event="evt_both"))

    assert 2 == desk.check().accepted


@pytest.mark.parametrize("odd", ODD)
def test_odd_characters_in_names_survive_the_whole_way(desk: Bench, odd: str) -> None:
    desk.tell(customer(odd, account=odd), subscription(odd, f"sub {odd}"))

    assert ["created"] == desk.work()

    assert 450 == desk.traits(odd)["mrr"]
    assert desk.standing(odd).settled == desk.standing(odd).rev


def test_facts_are_stored_although_the_job_cannot_be_queued(desk: Bench) -> None:
    desk.take(customer())
    desk.sweep()

    assert ["created"] == desk.work()
