"""A whole bridge beside a Chargebee: customers whose webhooks were missed are found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import orjson
import pytest

from tests.support.chargebee import (
    DAY_0,
    PASSWORD,
    USERNAME,
    Json,
    customer,
    headers,
    seconds,
    subscription,
    told,
)
from tests.support.command import called
from tests.support.local_chargebee import KEY, LocalChargebee
from tests.support.stack import Stack
from tests.support.waiting import eventually

CUSTOMERS = 110
"""More than a page of them."""

GONE = range(7)
"""Those who left while nobody listened."""


@pytest.fixture
def chargebee() -> Iterator[LocalChargebee]:
    with LocalChargebee() as running:
        yield running


@pytest.fixture
def stack(tmp_path: Path, chargebee: LocalChargebee) -> Iterator[Stack]:
    own = {"CHARGEBEE_API_KEY": KEY, "CHARGEBEE_API_BASE": chargebee.url}
    own |= {"CHARGEBEE_WEBHOOK_USERNAME": USERNAME}
    own |= {"CHARGEBEE_WEBHOOK_PASSWORD": PASSWORD, "CHARGEBEE_SITE": "acme"}
    with Stack(tmp_path, **own) as running:
        running.web()
        running.worker()
        yield running.ready()


def day(ago: float) -> float:
    """The day of some seconds *ago*."""
    return (time.time() - ago - DAY_0) / 86_400


def happened(
    chargebee: LocalChargebee, ago: float, kind: str, n: int, **said: object
) -> Json:
    """An event of a moment *ago*, and what it tells of, are at Chargebee; it is not sent."""
    own = {"id": f"sub_{n}", "customer_id": f"cb_{n}", **said}
    event = told(kind, day(ago), **own)
    chargebee.put(event, event["content"]["subscription"])
    return event


def deliver(stack: Stack, event: Json) -> None:
    body = orjson.dumps(event)
    web = stack.webs[0]
    reply = web.ask("POST", "/webhooks/chargebee", body=body, headers=headers())
    assert 202 == reply.status


def test_who_left_unheard_is_found_by_a_backfill_and_lost_events_by_their_list(
    stack, chargebee
):
    for n in range(CUSTOMERS):
        chargebee.put(customer(id=f"cb_{n}", company=f"Shop {n}"))
        chargebee.put(subscription(1, id=f"sub_{n}", customer_id=f"cb_{n}"))
    # Met in mid-life: it is read at once, its name too.
    deliver(stack, happened(chargebee, 90, "subscription_renewed", 0))
    eventually(stack.has("cb_0", mrr=98, subscriptionStatus="active"))
    left = {"status": "cancelled", "mrr": 0, "cancelled_at": seconds(day(60))}
    for n in GONE:
        happened(chargebee, 60, "subscription_cancelled", n, **left)

    run = partial(called, environ=stack.environ)
    said = run("backfill", "chargebee", "--yes").err
    stack.settled()

    assert f"{CUSTOMERS} customers read" in said
    for n in range(CUSTOMERS):
        status = {"subscriptionStatus": "churned" if n in GONE else "active"}
        assert stack.has(f"cb_{n}", mrr=None if n in GONE else 98, **status)()
        assert n == 0 or f"Shop {n}" == stack.account(f"cb_{n}")["name"]

    events = [
        happened(chargebee, 30, "subscription_changed", n, mrr=5000)
        for n in range(20, 30)
    ]
    for event in events[::3]:
        deliver(stack, event)
    found = run("gaps", "chargebee", "--json").json
    stack.settled()

    # The renewal was delivered; of the cancellations nothing but the state was known.
    lost = [event for n, event in enumerate(events) if n % 3]
    # The backfill read these customers after the events: they are no news.
    assert len(lost) + len(GONE) == found["filled in"]
    assert [] == found["events"]
    assert all(stack.has(f"cb_{n}", mrr=50)() for n in range(20, 30))
    assert stack.has("cb_1", mrr=None, subscriptionStatus="churned")()
    assert [] == run("gaps", "chargebee", "--json").json["events"]
    assert "Chargebee takes CHARGEBEE_API_KEY" in run("doctor").out
