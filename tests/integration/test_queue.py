"""What stands in the queue: readable, JSON, under an honest name, urgent ones first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from bridge.ingest import Ingress
from bridge.queue import Queue, job_id
from bridge.sources import discover
from bridge.webhook.source import Delivery, Verified
from tests.support.desk import NOON, QUEUE, Bench, customer, settings
from tests.support.server import RedisServer

CREATE = "workers.jobs.create_account"
UPDATE = "workers.jobs.update_traits"


@pytest.fixture
def ingress(desk: Bench, redis_server: RedisServer) -> Ingress:
    said = settings(desk.vitally.url, redis_server.url)
    return Ingress(said, desk.redis, discover().values())


def deliver(ingress: Ingress, kind: str, at: int, **of: Any) -> str:
    """Take in an event whose sender is proved."""
    thing = {"id": "cus_1", "name": "Acme", "metadata": {}} | of
    body = {
        "id": f"evt_{at}",
        "object": "event",
        "type": kind,
        "created": NOON // 1000 + at,
        "livemode": True,
        "data": {"object": thing},
    }
    delivery = Delivery("POST", "/webhooks/stripe", {}, json.dumps(body).encode())
    return ingress.take_in(ingress.sources["stripe"], Verified(delivery)).receipt


def sub(cus: str = "cus_1", **of: Any) -> dict[str, Any]:
    own = {"id": f"sub_{cus}", "customer": cus, "status": "active"}
    return {**own, "currency": "usd", "items": {"data": []}, **of}


def waiting(desk: Bench) -> list[dict[str, Any]]:
    """Each waiting job as its hash says, first come first."""
    found = []
    for raw in desk.redis.lrange(QUEUE, 0, -1):
        row = desk.redis.hgetall(f"rq:job:{raw.decode()}")
        job = Job.fetch(raw.decode(), desk.redis, serializer=JSONSerializer)
        data = json.loads(job.data)
        found.append({"id": raw.decode(), "row": row, "data": data})
    return found


def test_a_description_holds_nothing_that_a_browser_or_a_log_obeys(
    redis: Redis,
) -> None:
    party = 'stripe:<meta http-equiv=refresh content="0;url=//example.org">\n\x1b[2J'
    id_ = Queue(redis).push(party, 1, "customer.created <style> & " + "x" * 1000)
    said = redis.hget(f"rq:job:{id_}", "description")
    assert isinstance(said, bytes)
    text = said.decode()

    assert text.startswith('stripe:(meta http-equiv=refresh content="0;url=//example')
    assert set() == set(text) & set("<>&\n\x1b")
    assert 500 == len(text)


def test_a_job_is_a_key_in_json_and_its_description_can_be_read(
    ingress: Ingress, desk: Bench
) -> None:
    deliver(ingress, "customer.created", 1)

    (job,) = waiting(desk)

    assert [CREATE, None, ["stripe:cus_1"], {}] == job["data"]
    assert (
        "stripe:cus_1 ← customer.created evt_1" == job["row"][b"description"].decode()
    )
    assert "stripe-cus_1-1" == job["id"]
    assert b"0" == job["row"][b"result_ttl"]


def test_a_waiting_job_is_small(ingress: Ingress, desk: Bench) -> None:
    deliver(ingress, "customer.created", 1)

    (job,) = waiting(desk)

    # RQ's own form, with its many empty fields, takes most of it.
    assert 2048 > desk.redis.memory_usage(f"rq:job:{job['id']}")


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
    deliver(ingress, kind, 1, **(sub() if "subscription" in kind else {}))

    assert name == waiting(desk)[0]["data"][0]


def test_a_customer_of_a_known_account_is_an_update(
    ingress: Ingress, desk: Bench
) -> None:
    deliver(ingress, "customer.created", 1)
    desk.work()
    deliver(ingress, "customer.updated", 2, name="Acme Two")

    assert UPDATE == waiting(desk)[0]["data"][0]


def test_an_account_that_vitally_does_not_have_stays_unknown(
    ingress: Ingress, desk: Bench
) -> None:
    desk.set(bridge_create="never")
    deliver(ingress, "customer.created", 1)
    desk.work()
    deliver(ingress, "customer.updated", 2)

    assert CREATE == waiting(desk)[0]["data"][0]


def test_the_end_of_a_subscription_goes_first(ingress: Ingress, desk: Bench) -> None:
    for n in range(3):
        deliver(ingress, "customer.created", n, id=f"cus_{n}")
    ended = sub("cus_9", status="canceled", ended_at=NOON // 1000)
    deliver(ingress, "customer.subscription.deleted", 9, **ended)

    assert "stripe-cus_9-1" == desk.queue.waiting()[0]
    assert 4 == desk.queue.depth()


def test_the_job_and_the_mark_of_its_claim_come_together(desk: Bench) -> None:
    desk.tell(customer())

    assert {"claim": "queued", "job": "stripe-cus_1-1"}.items() <= desk.claim().items()


@pytest.mark.parametrize("other", ["stripe:a_b", "stripe:a-b", "stripe:a b", "x:a:b"])
def test_two_parties_never_share_a_job_id(other: str) -> None:
    others = {"stripe:a_b", "stripe:a-b", "stripe:a b", "x:a:b"} - {other}

    assert job_id(other, 1) not in {job_id(one, 1) for one in others}


def test_nothing_is_left_of_a_job_that_was_forgotten(desk: Bench) -> None:
    desk.tell(customer())
    queue = Queue(desk.redis)
    queue.forget("stripe-cus_1-1")
    queue.forget("stripe-cus_1-1")

    assert 0 == queue.depth()
    assert 0 == desk.redis.exists("rq:job:stripe-cus_1-1")


def test_an_account_that_is_known_is_updated_whatever_the_event_is(
    ingress: Ingress, desk: Bench
) -> None:
    deliver(ingress, "customer.created", 1)
    desk.work()
    deliver(ingress, "customer.updated", 2, name="Acme Ltd")

    assert [UPDATE] == [job["data"][0] for job in waiting(desk)]
