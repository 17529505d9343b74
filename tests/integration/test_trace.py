"""One id leads from a sender's request to the write, and the worker's line says what it did."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from rq.job import Job
from rq.serializers import JSONSerializer

from bridge.domain.account import Name
from bridge.domain.document import Document
from bridge.ingest import Ingress
from bridge.lamps import lamps
from bridge.log import content
from bridge.store import keys
from bridge.store.accept import Origin
from bridge.store.health import RedisHealth
from bridge.store.inspect import figures
from bridge.store.quarantine import Quarantine
from tests.support.desk import Bench, customer, subscription
from tests.support.stripe import Shop, delivery
from workers.outcomes import unchanged
from workers.probes import ask


@pytest.fixture
def sends(web: FlaskClient):
    """Send a signed body as Stripe does; return the reply's JSON."""

    def post(event: Any, secret: str = "whsec_example") -> dict[str, Any]:
        body, headers = delivery(event, secret, time.time())
        return web.post("/webhooks/stripe", data=body, headers=headers).json

    return post


def born() -> dict[str, Any]:
    return {**Shop().signs_up(), "livemode": True}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture):
    """Read the lines of the log with this message, whole."""
    shown: list[dict[str, Any]] = []

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(content(record))

    caplog.set_level(logging.INFO)
    logging.getLogger().addHandler(handler := Shown())
    yield lambda message: [one for one in shown if one["message"] == message]
    logging.getLogger().removeHandler(handler)


def journal(desk: Bench) -> list[tuple[str, str]]:
    """Receipt and delivery of each line of the journal."""
    return [
        (line[b"r"].decode(), line[b"d"].decode())
        for _, line in desk.redis.xrange(keys.JOURNAL)
    ]


def waiting(desk: Bench, name: str = "cus_1") -> str | None:
    raw = desk.redis.hget(keys.party(f"stripe:{name}"), "deliveries")
    return raw and raw.decode()


def test_a_delivery_is_followed_by_its_id_from_the_reply_to_the_write(
    desk: Bench, sends, lines, run
) -> None:
    event = born()
    first, again = sends(event)["delivery"], sends(event)["delivery"]
    (id_,) = desk.queue.waiting()
    job = Job.fetch(id_, desk.redis, serializer=JSONSerializer)

    assert [("queued", first), ("duplicate", again)] == journal(desk)
    assert [first, again] == [line["delivery"] for line in lines("delivery")]
    assert job.description.endswith(f"{event['id']} (delivery {first})")
    assert ["created"] == desk.work()
    assert [[first]] == [line["deliveries"] for line in lines("job")]
    name = event["data"]["object"]["id"]
    (wrote,) = desk.look.record(name, [f"stripe:{name}"]).history
    assert [first] == wrote["deliveries"]
    assert f"(deliveries {first})" in run("why", name).out
    assert waiting(desk, name) is None


def test_what_is_ignored_kept_or_refused_has_an_id_too(
    desk: Bench, sends, lines
) -> None:
    event = born()
    ignored = sends({**event, "type": "customer.tax_id.created"})
    odd = sends({**event, "data": {"object": {"id": 7}}})
    sends(event, secret="whsec_other")
    logged = [line["delivery"] for line in lines("delivery")]
    told = [("ignored", ignored["delivery"]), ("quarantined", odd["delivery"])]

    assert told == journal(desk)
    assert [logged[0], logged[1]] == [id_ for _, id_ in told]
    assert 3 == len({*logged})
    assert [logged[1]] == [kept.delivery for kept in Quarantine(desk.redis).all()]


def test_an_event_read_out_of_the_quarantine_has_the_id_of_its_delivery(
    desk: Bench, ingress: Ingress, sends
) -> None:
    shelf, event = Quarantine(desk.redis), born()
    id_ = sends({**event, "data": {"object": {"id": 7}}})["delivery"]
    (kept,) = shelf.all()
    body, _ = delivery(event, "x", 0)
    ingress.replay(ingress.sources["stripe"], kept._replace(body=body))

    assert [("quarantined", id_), ("queued", id_)] == journal(desk)


def came(desk: Bench, *numbers: int) -> None:
    """Deliver an event of one customer under the id of each number."""
    for n in numbers:
        origin = Origin(f"delivery-{n:03}")
        desk.accept.facts("stripe", [subscription(at=n, unit=n)], origin)


def test_a_party_keeps_the_last_four_ids_and_how_many_there_were(desk: Bench) -> None:
    came(desk, *range(1, 8))

    last = "delivery-004 delivery-005 delivery-006 delivery-007"
    assert f"7 {last}" == waiting(desk)
    assert b"listpack" == desk.redis.object("encoding", keys.party("stripe:cus_1"))


@pytest.mark.parametrize(
    ("late", "left"), [(1, "1 delivery-003"), (6, "6 delivery-005")]
)
def test_what_came_after_the_facts_were_read_stays_unsettled(
    desk: Bench, late: int, left: str
) -> None:
    desk.tell(customer())
    came(desk, 1, 2)
    view = desk.leases.begin("stripe:cus_1")
    came(desk, *range(3, 3 + late))
    desk.leases.ack(view, unchanged(view, Document(Name("", 0), {}, {})))

    assert waiting(desk).startswith(left)


def test_ids_stay_until_the_delivery_is_settled_and_later_jobs_name_the_last(
    desk: Bench, lines
) -> None:
    desk.tell(customer(account=None))
    came(desk, 1)
    assert ["held"] == desk.work()
    assert "1 delivery-001" == waiting(desk)

    desk.fault("status", status=503)
    assert ["retried"] == desk.does(customer(at=9))
    desk.passes(60_000)
    (id_,) = desk.queue.waiting()
    job = Job.fetch(id_, desk.redis, serializer=JSONSerializer)
    assert "stripe:cus_1 ← next try (delivery delivery-001)" == job.description
    assert ["created"] == desk.work()
    assert [["delivery-001"]] * 3 == [line["deliveries"] for line in lines("job")]
    assert ["delivery-001"] == lines("write")[0]["deliveries"]
    assert waiting(desk) is None


def test_the_line_of_a_job_names_traits_and_answers_but_no_value(
    desk: Bench, lines
) -> None:
    desk.rests(customer())
    desk.fault("status", status=503)
    desk.does(subscription(at=1))
    desk.passes(60_000)
    desk.work()
    (created, failed, updated) = lines("job")

    assert ([], 2, [404, 200]) == tuple(
        created[key] for key in ("traits", "requests", "statuses")
    )
    assert ("retried", [503]) == (failed["outcome"], failed["statuses"])
    assert "503" in failed["why"]
    assert ("updated", [200, 200]) == (updated["outcome"], updated["statuses"])
    assert {"mrr", "subscriptionStatus"} < {*updated["traits"]}
    assert "450" not in str(updated["traits"])


@pytest.mark.parametrize("status", [400, 401, 409, 429, 500, 302])
def test_vitally_s_own_words_are_in_no_line_on_no_lamp_and_with_the_account(
    desk: Bench, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.INFO)
    words = "upstream failed for boss@alpha.test (Alpha GmbH, MRR 4711)"
    desk.rests(customer())
    desk.fault("status", status=status, body={"error": words}, times=3)
    desk.does(subscription(at=1))
    ask(desk.context, desk.context.client())
    logged = str([content(record) for record in caplog.records])
    lit = str(lamps(figures(desk.redis), RedisHealth(0, ()), desk.context.settings))

    assert [] == [x for x in (logged, lit) if "alpha" in x.lower() or "4711" in x]
    assert f"answered {status}" in logged
    kept = str(desk.look.record("acme", ["stripe:cus_1"]))
    assert (words in kept) == (status in {302, 400, 409, 500})


def waits_for_pace(desk: Bench) -> None:
    desk.does(customer(), subscription(at=1))
    desk.does(subscription(at=2, unit=100))


def waits_for_a_lease(desk: Bench) -> None:
    desk.redis.set(keys.lease("acme"), 10**9)
    desk.does(customer())


def waits_as_told(desk: Bench) -> None:
    desk.fault("status", status=429)
    desk.does(customer())


def finds_a_fault(desk: Bench) -> None:
    desk.fault("status", status=503)
    desk.does(customer())


def runs_dry(desk: Bench) -> None:
    desk.set(bridge_dry_run=True)
    desk.does(customer())


@pytest.mark.parametrize(
    ("act", "word", "why"),
    [
        (waits_for_pace, "paced", "a moment ago"),
        (waits_for_a_lease, "waited", "lease"),
        (waits_as_told, "waited", "429"),
        (finds_a_fault, "retried", "503"),
        (runs_dry, "dry_run", None),
    ],
)
def test_waiting_is_told_apart_from_failing_in_the_log_and_in_the_counts(
    desk: Bench, lines, act, word: str, why: str | None
) -> None:
    act(desk)
    last = lines("job")[-1]

    assert (word, 1) == (last["outcome"], desk.check().outcomes[word])
    assert last.get("why") is None if why is None else why in last["why"]
