"""How facts come in: round trips, receipts, claims; and what then stands in the queue."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from bridge.domain.facts import Fact
from bridge.ingest import Ingress
from bridge.queue import Queue, job_id
from bridge.store import keys
from bridge.store.lease import Claim
from bridge.webhook.source import Delivery
from tests.support.desk import NOON, QUEUE, Bench, customer, subscription
from tests.support.round_trips import round_trips

CREATE = "workers.jobs.create_account"
UPDATE = "workers.jobs.update_traits"
ODD = ["a b/ü%", "x" * 200, "a:b", 'quote"\\back', "emoji-🙂", "{tag}*?[a]"]


def deliver(ingress: Ingress, event: dict[str, Any]) -> str:
    """Deliver *event*, signed; its receipt."""
    body, at = json.dumps(event).encode(), NOON // 1000
    signed = hmac.new(b"whsec_example", b"%d." % at + body, hashlib.sha256).hexdigest()
    headers = {"stripe-signature": f"t={at},v1={signed}"}
    delivery = Delivery("POST", "/webhooks/stripe", headers, body)
    return ingress.receive(ingress.sources["stripe"], delivery, at).receipt


def event(number: int, kind: str, **more: Any) -> dict[str, Any]:
    thing = {"id": "cus_1", "object": "customer", "name": "Acme", "metadata": {}}
    return {
        "id": f"evt_{number}",
        "object": "event",
        "type": kind,
        "created": NOON // 1000 + number,
        "livemode": True,
        "data": {"object": thing | more},
    }


def sub_event(number: int, kind: str = "updated", **more: Any) -> dict[str, Any]:
    sub = {"id": "sub_1", "object": "subscription", "customer": "cus_1"}
    sub |= {"status": "active", "currency": "usd", "items": {"data": []}}
    return event(number, f"customer.subscription.{kind}", **(sub | more))


# --- Receipts -------------------------------------------------------------------------


def test_an_event_is_one_round_trip_and_a_second_where_it_queues_a_job(
    ingress: Ingress, desk: Bench
) -> None:
    deliver(ingress, event(1, "customer.updated"))
    desk.work()

    queueing = round_trips(desk.redis, lambda: deliver(ingress, sub_event(2)))
    joining = round_trips(desk.redis, lambda: deliver(ingress, sub_event(3)))

    assert (["EVALSHA", "MULTI"], ["EVALSHA"]) == (queueing, joining)


def test_the_receipts_tell_queued_coalesced_duplicate_ignored_and_quarantined(
    ingress: Ingress, desk: Bench
) -> None:
    events = {
        "queued": event(1, "customer.created"),
        "coalesced": sub_event(2),
        "duplicate": sub_event(2),
        "ignored": event(3, "charge.updated"),
        "quarantined": sub_event(4, status=7),
    }

    assert [*events] == [deliver(ingress, one) for one in events.values()]
    figures = desk.check()
    assert (5, 2) == (figures.received, figures.accepted)
    assert (1, 1, 1) == (figures.duplicate, figures.ignored, figures.quarantined)


def test_another_rendering_of_an_event_is_kept_beside_it(
    ingress: Ingress, desk: Bench
) -> None:
    half = {"id": "HALF", "percent_off": 50, "duration": "forever"}
    price = {"id": "price_1", "unit_amount": 1000, "recurring": {"interval": "month"}}
    items = {"items": {"data": [{"price": price}]}}
    old = sub_event(1, **items, discount={"id": "di_1", "coupon": half})
    new = sub_event(1, **items, discounts=["di_1"])

    receipts = [deliver(ingress, each) for each in (new, old, new, old)]

    assert ["queued", "coalesced", "duplicate", "duplicate"] == receipts
    desk.work()
    assert 5 == desk.traits("cus_1")["mrr"]
    assert ["duplicate"] * 2 == [deliver(ingress, each) for each in (new, old)]
    figures = desk.check()
    assert (6, 2) == (figures.received, figures.accepted)
    assert (4, 2) == (figures.duplicate, figures.settled)


def test_renderings_of_what_is_over_go_with_it(ingress: Ingress, desk: Bench) -> None:
    old = sub_event(1, discount={"id": "di_1"}), sub_event(1, discounts=["di_1"])
    newer = sub_event(2), sub_event(2, current_period_end=1_800_000_000)
    for each in (*old, *newer):
        deliver(ingress, each)
    desk.rests()
    assert 4 == desk.redis.hlen(keys.facts("stripe:cus_1"))
    deliver(ingress, sub_event(3, "deleted"))
    desk.work()

    assert "duplicate" == deliver(ingress, old[1])
    left = {b"subscription:sub_1\t", b"subscription:sub_1\tevt_3"}
    assert left == set(desk.redis.hkeys(keys.facts("stripe:cus_1")))


def test_an_id_used_for_two_events_is_no_repetition(
    ingress: Ingress, desk: Bench
) -> None:
    """As in examples that people post: one id for whatever happens."""
    events = [
        event(1, "customer.updated"),
        sub_event(1),
        sub_event(1, "created", id="sub_2"),
        sub_event(1, id="sub_3"),
        sub_event(1, status="past_due") | {"created": NOON // 1000 + 9},
    ]
    same = [each | {"id": "evt_0"} for each in events]

    assert "duplicate" not in [deliver(ingress, each) for each in same]
    desk.work()
    assert ["duplicate"] * 5 == [deliver(ingress, each) for each in same]
    assert "past_due" == desk.traits("cus_1")["subscriptionStatus"]


def test_a_duplicate_of_a_settled_event_queues_nothing(desk: Bench) -> None:
    fact = customer()
    desk.does(fact)
    accepted = desk.tell(fact)

    assert ("duplicate", 0) == (accepted.receipt, accepted.claim)
    assert (0, set()) == (desk.queue.depth(), desk.dirty())


def test_an_event_that_the_ring_forgot_changes_nothing_either(desk: Bench) -> None:
    first, *later = (subscription(at=at, unit=100 * at) for at in (1, 2, 3))
    desk.does(customer(), first, *later)
    desk.redis.delete(keys.RECENT)

    assert "queued" == desk.tell(first).receipt
    assert ["unchanged"] == desk.work()
    assert 3 == desk.traits()["mrr"]
    stored = desk.redis.hkeys(keys.facts("stripe:cus_1"))
    assert f"subscription:sub_1\t{first.event}".encode() not in stored


def test_one_event_of_two_parties_counts_for_each(desk: Bench) -> None:
    desk.tell(customer("cus_1", event="evt_both"), customer("cus_2", event="evt_both"))

    assert 2 == desk.check().accepted


@pytest.mark.parametrize("odd", ODD)
def test_odd_characters_in_names_survive_the_whole_way(desk: Bench, odd: str) -> None:
    facts = [customer(odd, account=odd), subscription(odd, f"sub {odd}")]

    assert ["created"] == desk.does(*facts)
    assert 450 == desk.traits(odd)["mrr"]
    assert desk.standing(odd).settled == desk.standing(odd).rev


# --- Claims ---------------------------------------------------------------------------


def test_a_fresh_claim_without_a_job_is_left_to_whoever_made_it(desk: Bench) -> None:
    first, second = (desk.take(subscription(at=at)) for at in (1, 2))

    assert ("queued", 1) == (first.receipt, first.claim)
    assert ("coalesced", 0) == (second.receipt, second.claim)
    assert "wanted" == desk.claim()["claim"]


FIRST = subscription(at=1)


@pytest.mark.parametrize(
    ("fact", "receipt"), [(subscription(at=2), "queued"), (FIRST, "duplicate")]
)
def test_a_stale_claim_without_a_job_is_taken_up_by_the_next_event_or_a_repeat(
    desk: Bench, fact: Fact, receipt: str
) -> None:
    desk.take(FIRST)
    desk.passes(2500)
    accepted = desk.tell(fact)

    assert (receipt, 2) == (accepted.receipt, accepted.claim)
    assert "queued" == desk.claim()["claim"]
    assert ["stripe-cus_1-2"] == desk.queue.waiting()


def test_an_event_during_a_job_leads_to_exactly_one_more(desk: Bench) -> None:
    desk.tell(customer())
    party = desk.popped()
    for at in range(5):
        assert "coalesced" == desk.tell(subscription(at=at, unit=100 + at)).receipt
    desk.jobs.run(party)

    assert (0, 1.04) == (desk.queue.depth(), desk.traits()["mrr"])


# --- The queue ------------------------------------------------------------------------


def waiting(desk: Bench) -> Job:
    """The first job that waits."""
    id_ = desk.queue.waiting()[0]
    return Job.fetch(id_, desk.redis, serializer=JSONSerializer)


def test_a_description_holds_nothing_that_a_browser_or_a_log_obeys(
    redis: Redis,
) -> None:
    party = 'stripe:<meta http-equiv=refresh content="0;url=//example.org">\n\x1b[2J'
    id_ = Queue(redis).push(Claim(party, 1), "customer.created <style> & " + "x" * 1000)
    raw = redis.hget(f"rq:job:{id_}", "description")
    assert isinstance(raw, bytes)
    text = raw.decode()

    assert text.startswith('stripe:(meta http-equiv=refresh content="0;url=//example')
    assert set() == set(text) & set("<>&\n\x1b")
    assert 500 == len(text)


def test_a_job_is_a_small_key_in_json_and_its_description_can_be_read(
    ingress: Ingress, desk: Bench
) -> None:
    deliver(ingress, event(1, "customer.created"))
    job = waiting(desk)

    assert [CREATE, None, ["stripe:cus_1"], {}] == json.loads(job.data)
    assert "stripe:cus_1 ← customer.created evt_1" == job.description
    assert ("stripe-cus_1-1", 0) == (job.id, job.result_ttl)
    claim = {"claim": "queued", "job": "stripe-cus_1-1"}
    assert claim.items() <= desk.claim().items()
    # RQ's own form, with its many empty fields, takes most of it.
    assert 2048 > desk.redis.memory_usage(f"rq:job:{job.id}")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("customer.created", CREATE),
        ("customer.updated", CREATE),
        ("customer.deleted", UPDATE),
        ("customer.subscription.created", UPDATE),
        ("customer.subscription.updated", UPDATE),
    ],
)
def test_only_a_customer_of_an_unknown_account_is_a_creation(
    ingress: Ingress, desk: Bench, kind: str, name: str
) -> None:
    of_sub = "subscription" in kind
    last = kind.rpartition(".")[2]
    deliver(ingress, sub_event(1, last) if of_sub else event(1, kind))

    assert name == waiting(desk).func_name


@pytest.mark.parametrize(("policy", "name"), [("customer", UPDATE), ("never", CREATE)])
def test_an_account_is_known_once_vitally_has_it(
    ingress: Ingress, desk: Bench, policy: str, name: str
) -> None:
    desk.set(bridge_create=policy)
    deliver(ingress, event(1, "customer.created"))
    desk.work()
    deliver(ingress, event(2, "customer.updated", name="Acme Two"))

    assert name == waiting(desk).func_name


def test_the_end_of_a_subscription_goes_first(ingress: Ingress, desk: Bench) -> None:
    for n in range(3):
        deliver(ingress, event(n, "customer.created", id=f"cus_{n}"))
    ended = {"customer": "cus_9", "status": "canceled", "ended_at": NOON // 1000}
    deliver(ingress, sub_event(9, "deleted", **ended))

    assert ("stripe-cus_9-1-urgent", 4) == (waiting(desk).id, desk.queue.depth())


def test_an_ending_gets_a_job_of_its_own_where_one_waits_behind_others(
    ingress: Ingress, desk: Bench
) -> None:
    for n in range(3):
        deliver(ingress, event(n, "customer.created", id=f"cus_{n}"))
    ended = {"customer": "cus_2", "status": "canceled", "ended_at": NOON // 1000}
    receipts = [deliver(ingress, sub_event(n, "deleted", **ended)) for n in (9, 10)]

    assert ["coalesced"] * 2 == receipts
    assert ["stripe-cus_2-2-urgent", "stripe-cus_0-1"] == desk.queue.waiting()[:2]
    assert 4 == desk.queue.depth()
    # One that waits for its next try keeps its place.
    desk.leases.postpone(desk.popped(), 1000)
    desk.passes(1001)
    assert "stripe-cus_2-3-urgent" == desk.queue.waiting()[0]
    desk.work()
    assert "urgent" not in desk.claim("cus_2")


def test_two_parties_never_share_a_job_id() -> None:
    parties = ("stripe:a_b", "stripe:a-b", "stripe:a b", "x:a:b", "x-a:b", "x:a-b")

    assert len(parties) == len({job_id(party, 1) for party in parties})


def test_nothing_is_left_of_a_job_that_was_forgotten(desk: Bench) -> None:
    desk.tell(customer())
    for _ in range(2):
        desk.queue.forget("stripe-cus_1-1")

    assert 0 == desk.redis.exists("rq:job:stripe-cus_1-1", QUEUE)
