"""`vitally-bridge gaps` as a process: a local Stripe, a real Redis."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import orjson
import pytest

from bridge.ingest import Ingress
from bridge.sources import discover
from bridge.store import keys
from bridge.webhook.source import Delivery, Verified
from tests.support.command import Process
from tests.support.desk import Bench, settings
from tests.support.local_stripe import LocalStripe, customer

DAY = 86_400


@pytest.fixture
def environ(stripe_environ: dict[str, str]) -> dict[str, str]:
    return stripe_environ


@pytest.fixture
def gaps(desk: Bench, read_stripe: Process) -> Process:
    return partial(read_stripe, "gaps")


def happens(
    stripe: LocalStripe, number: int, *, ago: int = DAY, **more: Any
) -> dict[str, Any]:
    """Put an event that tells of a customer of its own."""
    event = {
        "id": f"evt_{number}",
        "object": "event",
        "api_version": "2025-08-27.basil",
        "type": "customer.updated",
        "created": int(time.time()) - ago,
        "livemode": False,
        "data": {"object": customer(f"cus_{number}"), "previous_attributes": {}},
        **more,
    }
    stripe.put(event)
    return event


def deliver(desk: Bench, environ: dict[str, str], *events: dict[str, Any]) -> None:
    """Take events in as their webhooks would."""
    found = settings(desk.vitally.url, environ["REDIS_URL"], STRIPE_MODE="test")
    ingress = Ingress(found, desk.redis, discover().values())
    for event in events:
        delivery = Delivery("POST", "", {}, orjson.dumps(event))
        ingress.take_in(ingress.sources["stripe"], Verified(delivery))


def taken(redis: Any) -> set[str]:
    """Ids of all events that have left facts."""
    found = redis.scan_iter(match=keys.facts("*"), count=1000)
    return {
        name.decode().partition("\t")[2] for key in found for name in redis.hkeys(key)
    }


def everything(redis: Any) -> dict[bytes, bytes | None]:
    return {key: redis.dump(key) for key in redis.keys("*")}


def test_exactly_the_missing_events_are_taken_in(
    stripe: LocalStripe, desk: Bench, environ: dict[str, str], gaps: Process
) -> None:
    events = [happens(stripe, n) for n in range(230)]
    missing = {n for n in range(230) if n % 7 == 3}
    deliver(desk, environ, *(e for n, e in enumerate(events) if n not in missing))
    before = desk.check()

    done = gaps("stripe")

    assert {event["id"] for event in events} == taken(desk.redis)
    assert f"230 events of 30 days: {230 - len(missing)} seen before" in done.stdout
    listed = {line.split()[-1] for line in done.stdout.splitlines()[:-1]}
    assert {f"evt_{n}" for n in missing} == listed
    after = desk.check()
    assert len(missing) == after.accepted - before.accepted
    assert 230 - len(missing) == after.duplicate - before.duplicate
    assert len(missing) == after.waiting - before.waiting


def test_once_more_finds_nothing(
    stripe: LocalStripe, desk: Bench, gaps: Process
) -> None:
    for n in range(5):
        happens(stripe, n)
    gaps("stripe")

    assert "5 events of 30 days: 5 seen before\n" == gaps("stripe").stdout


def test_a_dry_run_says_what_is_missing_and_changes_nothing(
    stripe: LocalStripe, desk: Bench, environ: dict[str, str], gaps: Process
) -> None:
    events = [happens(stripe, n) for n in range(6)]
    happens(stripe, 6, livemode=True)
    happens(stripe, 7, data={"object": {"id": 7}})
    happens(stripe, 8, data="nothing that is an event")
    deliver(desk, environ, *events[:4])
    before = everything(desk.redis)

    done = gaps("stripe", "--dry-run")

    assert before == everything(desk.redis)
    assert (
        "9 events of 30 days: 1 ignored, 2 missing, 2 quarantined, 4 seen before"
    ) in done.stdout
    missing = [line for line in done.stdout.splitlines() if "  missing  " in line]
    assert {"evt_4", "evt_5"} == {line.split()[-1] for line in missing}
    assert "customer.updated" in missing[0]


def test_a_dry_run_sees_what_a_real_one_does(
    stripe: LocalStripe, desk: Bench, environ: dict[str, str], gaps: Process
) -> None:
    events = [happens(stripe, n) for n in range(6)]
    deliver(desk, environ, *events[2:])

    *looked, looked_at = gaps("stripe", "--dry-run").stdout.splitlines()
    *took, counted = gaps("stripe").stdout.splitlines()

    assert [line.replace("missing", "taken in") for line in looked] == took
    assert "2 missing, 4 seen before" in looked_at
    assert "4 seen before, 2 taken in" in counted


def test_an_event_that_is_not_understood_is_kept(
    stripe: LocalStripe, desk: Bench, gaps: Process
) -> None:
    happens(stripe, 1, data={"object": {"id": 7}})

    done = gaps("stripe")

    assert "1 event of 30 days: 1 quarantined" in done.stdout
    assert 1 == desk.redis.zcard(keys.QUARANTINED)


def test_only_so_far_back_and_only_what_is_read(
    stripe: LocalStripe, desk: Bench, gaps: Process
) -> None:
    happens(stripe, 1, ago=2 * DAY - 100)
    happens(stripe, 2, ago=2 * DAY + 100)
    happens(stripe, 3, type="invoice.paid")

    done = gaps("stripe", "--days", "2")

    assert {"evt_1"} == taken(desk.redis)
    assert "1 event of 2 days: 1 taken in" in done.stdout


def test_every_handled_type_is_asked_for_once_in_lists_of_twenty(
    stripe: LocalStripe, gaps: Process
) -> None:
    gaps("stripe", "--dry-run")

    lists = [
        [value for name, value in asked.query if name.startswith("types[")]
        for asked in stripe.log
    ]
    handled = discover()["stripe"].handlers
    asked = [kind for kinds in lists for kind in kinds]
    # What begins with its API's version is a thin event, which that list has not.
    assert [kind for kind in handled if not kind.startswith("v1.")] == asked
    assert all(0 < len(kinds) <= 20 for kinds in lists)


def test_stripe_s_hiccups_lose_no_page(
    stripe: LocalStripe, desk: Bench, gaps: Process
) -> None:
    for n in range(120):
        happens(stripe, n)
    stripe.fail("429", where="starting_after")
    stripe.fail("garbage")

    done = gaps("stripe")

    assert 120 == len(taken(desk.redis))
    assert "trying again in 1 s" in done.stderr


def test_a_permission_that_lacks_is_named(stripe: LocalStripe, gaps: Process) -> None:
    stripe.forbidden.add("events")

    done = gaps("stripe", status=1)

    assert (
        "vitally-bridge: STRIPE_API_KEY may not read events (403): "
        "it lacks the permission rak_event_read; stopped after 0 events\n"
    ) in done.stderr


def test_another_source_is_told_who_can(gaps: Process) -> None:
    done = gaps("acme", status=1)

    assert "acme cannot be read afterwards; what can: stripe" in done.stderr
