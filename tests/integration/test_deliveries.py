"""What came in is listed newest first, found again, and says what became of it."""

from __future__ import annotations

import orjson
import pytest

from bridge.deliveries import RECEIPTS, Filter, deliveries
from bridge.ingest import Ingress
from bridge.store.refused import Refusals
from bridge.webhook.source import Delivery, Verified
from tests.support.command import Run
from tests.support.desk import Bench, customer, subscription
from tests.support.failures import wait
from tests.support.stripe import Shop


def listed(desk: Bench, **wanted: object) -> list[tuple[str, str]]:
    found = deliveries(desk.redis, Filter(**wanted))
    return [(line.event, line.became or line.receipt) for line in found.lines]


def test_receipts_are_listed_with_what_was_taken_in_first() -> None:
    taken = ("queued", "coalesced", "duplicate", "ignored")

    assert (*taken, "quarantined", "refused", "discarded") == RECEIPTS


def test_each_event_says_what_became_of_it(desk) -> None:
    desk.does(customer("cus_1", account="acme", event="evt_1"))
    wait(desk.redis, "stripe:cus_2", "parked", "mrr must be an integer")
    desk.tell(customer("cus_1", account="acme", at=5, called="B", event="evt_5"))
    repeated = customer("cus_2", at=6, event="evt_6")
    desk.tell(repeated, repeated)

    assert [
        ("evt_6", "duplicate"),
        ("evt_6", "pending"),
        ("evt_5", "pending"),
        ("evt_1", "parked"),
        ("evt_1", "settled"),
    ] == listed(desk)
    parked, settled = deliveries(desk.redis).lines[-2:]
    assert ("mrr must be an integer", "acme") == (parked.why, settled.account)


def test_held_events_are_settled_once_they_are_written(desk) -> None:
    desk.does(customer(account=None, event="evt_1"))
    assert [("evt_1", "held")] == listed(desk)

    desk.does(customer(account="acme", at=9, event="evt_2"))
    assert [("evt_2", "settled"), ("evt_1", "settled")] == listed(desk)


def test_ignored_and_quarantined_ones_have_their_reason(ingress: Ingress, desk) -> None:
    source = ingress.sources["stripe"]
    for body in (
        b'{"id": "evt_1", "object": "event", "type": "charge.failed", "created": 1}',
        b"no event",
    ):
        ingress.take_in(
            source, Verified(Delivery("POST", "/webhooks/stripe", {}, body))
        )

    bad, ignored = deliveries(desk.redis).lines

    assert ("quarantined", "the body is not valid JSON") == (bad.receipt, bad.reason)
    assert ("charge.failed", "ignored") == (ignored.type, ignored.receipt)
    assert "no effect" in ignored.reason
    assert [bad] == [*deliveries(desk.redis, Filter(reason="VALID json")).lines]
    assert [ignored] == [*deliveries(desk.redis, Filter(receipt="ignored")).lines]


def test_a_delivery_leads_to_the_write_that_carried_it(ingress: Ingress, desk) -> None:
    body = orjson.dumps(Shop().signs_up() | {"livemode": True})
    delivery = Delivery("POST", "/webhooks/stripe", {}, body, "d1")
    ingress.take_in(ingress.sources["stripe"], Verified(delivery))
    desk.work()

    (line,) = deliveries(desk.redis, Filter(text="d1")).lines

    assert ("settled", "created") == (line.became, line.carried["did"])


@pytest.mark.parametrize(
    ("wanted", "events"),
    [
        ({"text": "evt_1"}, ["evt_1"]),
        ({"text": "cus_2"}, ["evt_3", "evt_2"]),
        ({"text": "acme"}, ["evt_1"]),
        ({"type": "subscription"}, ["evt_3"]),
        ({"source": "stripe", "receipt": "queued"}, ["evt_2", "evt_1"]),
        ({"source": "hubspot"}, []),
        ({"since": 2**52}, []),
        ({"until": 1}, []),
        ({"text": "evt_"}, []),
    ],
)
def test_they_are_found_by(desk, wanted, events) -> None:
    desk.does(customer("cus_1", account="acme", event="evt_1"))
    desk.tell(customer("cus_2", account="beta", event="evt_2"))
    desk.tell(subscription("cus_2", event="evt_3"))

    assert events == [event for event, _ in listed(desk, **wanted)]


def test_pages_follow_one_another_without_a_gap_or_a_repeat(desk) -> None:
    for n in range(1203):
        desk.accept.ignore("stripe", [(f"evt_{n}", "charge.failed", "no effect")])

    seen, after = [], ""
    while True:
        found = deliveries(desk.redis, Filter(type="charge"), after, most=100)
        seen += [line.event for line in found.lines]
        after = found.next
        if not after:
            break

    assert [f"evt_{n}" for n in reversed(range(1203))] == seen


@pytest.mark.parametrize("place", ["", "nonsense", "1-1", "9" * 40, "1-1x"])
def test_a_place_that_is_none_is_the_beginning(desk, place) -> None:
    desk.tell(customer(event="evt_1"))

    assert ["evt_1"] == [x.event for x in deliveries(desk.redis, after=place).lines]


def test_lines_of_an_older_version_are_read(desk) -> None:
    line = {"s": "stripe", "e": "evt_1", "k": "customer.created", "p": "stripe:cus_1"}
    desk.redis.xadd("vb1:journal", line | {"r": "queued"})

    assert [("evt_1", "queued")] == listed(desk)


def test_refused_ones_stand_between_the_others(desk) -> None:
    tally = Refusals()
    for n in range(3):
        desk.accept.ignore("stripe", [(f"evt_{n}", "charge.failed", "no effect")])
        tally.add("stripe", 401, "mismatch", "it does not match", f"d{n}")
        tally.flush(desk.redis)

    seen, after = [], ""
    for _ in range(3):
        found = deliveries(desk.redis, after=after, most=2)
        seen += [line.delivery or line.event for line in found.lines]
        after = found.next

    # Two of the same millisecond stand in either order.
    assert ["d0", "d1", "d2", "evt_0", "evt_1", "evt_2"] == sorted(seen)
    assert not after
    (one,) = deliveries(desk.redis, Filter(text="d1")).lines
    assert ("refused", "401: it does not match") == (one.receipt, one.reason)


def test_what_happened_to_an_account_is_told_with_its_events_and_causes(
    ingress: Ingress, desk: Bench, run: Run
) -> None:
    shop = Shop()
    for id_, event in ("d1", shop.signs_up()), ("d2", shop.begins()):
        body = orjson.dumps(event | {"livemode": True})
        delivery = Delivery("POST", "/webhooks/stripe", {}, body, id_)
        ingress.take_in(ingress.sources["stripe"], Verified(delivery))
    desk.work()
    party = f"stripe:{shop.id}"
    run("link", party, "globex", "--yes")
    desk.settles()

    said = run("why", "globex")
    left = run("why", shop.id, "--json").json["timeline"]

    happened = said.out.partition("what happened (UTC)\n")[2].splitlines()
    words = [" ".join(line.split()[2:]) for line in happened]
    assert words[0].startswith("created name=")
    assert words[1].startswith("operator link link_")
    assert words[1].endswith(f" {party} queued, settled")
    assert words[2].endswith(f" {party} coalesced, settled (delivery d2)")
    writes = [one["write"] for one in left]
    causes = [write.get("cause") for write in writes]
    assert [f"{party} has left it", None] == causes
    assert (49, None) == (writes[0]["had"]["mrr"], writes[0]["traits"]["mrr"])
