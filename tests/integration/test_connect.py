"""`STRIPE_CONNECT`: customers of connected accounts, whose ids may be equal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from redis import Redis

from bridge.config import USED
from bridge.domain.values import REFRESHED
from bridge.errors import SourceError
from bridge.ingest import Ingress, Receipt
from bridge.lamps import complete
from bridge.sources import discover
from bridge.sources.stripe import SOURCE
from bridge.sources.stripe.api import StripeApi, connect
from bridge.sources.stripe.connected import DEEPEST, qualified
from bridge.store.complete import Checkpoint, Completeness
from bridge.store.inspect import figures
from bridge.webhook.source import Delivery, Verified
from tests.support.desk import Bench, settings
from tests.support.local_api import Asked, Reply
from tests.support.local_stripe import (
    KEY,
    SECRET_PART,
    Json,
    LocalStripe,
    coupon,
    customer,
    discount,
    event,
    item,
    price,
    refused,
    subscription,
)
from tests.support.reader import Reader
from tests.support.server import RedisServer

NOW = int(time.time()) - 60
DEFAULTS = {option.name: option.default for option in SOURCE.options}


class Door:
    """Takes in Stripe's events as if their signature had been checked."""

    def __init__(self, redis: Redis, url: str, **chosen: str) -> None:
        self.settings = settings(url, "redis://127.0.0.1:1/0", **chosen)
        self.ingress = Ingress(self.settings, redis, discover().values())

    def take(self, body: Json) -> Receipt:
        delivery = Verified(Delivery("POST", "", {}, orjson.dumps(body)))
        return self.ingress.take_in(self.ingress.sources["stripe"], delivery)


@pytest.fixture
def door(desk: Bench) -> Door:
    return Door(desk.redis, desk.vitally.url, STRIPE_CONNECT="true", STRIPE_MODE="test")


_numbers = iter(range(1, 1000))


def happened(account: str | None, kind: str, thing: Json) -> Json:
    id_ = f"evt_{next(_numbers)}"
    return event(id_, NOW, thing, type=kind, account=account, api_version=None)


def begins(account: str | None, unit: int, percent: float) -> Iterator[Json]:
    """A customer, coupon and subscription, whose ids are the same in each account."""
    bare = discount({**coupon(percent=percent), "created": 1}, start=NOW)
    bare["source"] = {"type": "coupon", "coupon": bare.pop("coupon")["id"]}
    half = coupon(percent=percent, created=1)
    sub = subscription("sub_1", "cus_1", item(price("price_1", unit)), discounts=[bare])
    yield happened(account, "coupon.created", half)
    yield happened(account, "customer.created", customer("cus_1"))
    yield happened(account, "customer.subscription.created", sub)


def test_equal_ids_of_two_connected_accounts_never_mix(desk: Bench, door: Door) -> None:
    lives = (("acct_1", 10000, 50.0), ("acct_2", 20000, 25.0), (None, 40000, 10.0))
    receipts = [door.take(one).receipt for life in lives for one in begins(*life)]
    desk.settles()
    mrr = {
        name: desk.vitally.account(name)["traits"]["mrr"]
        for name in ("acct_1/cus_1", "acct_2/cus_1", "cus_1")
    }

    assert {"queued", "coalesced"} >= {*receipts}
    assert {"acct_1/cus_1": 50, "acct_2/cus_1": 150, "cus_1": 360} == mrr


def test_without_the_setting_they_are_ignored_with_the_reason(desk: Bench) -> None:
    door = Door(desk.redis, desk.vitally.url, STRIPE_MODE="test")
    said = [door.take(one) for one in begins("acct_1", 1, 1.0)]

    assert {"ignored"} == {one.receipt for one in said}
    assert "an event of a connected account" in str(said[0].reason)


@pytest.mark.parametrize(
    ("given", "accounts"),
    [
        ({}, ["acct_1/cus_1"]),
        ({"STRIPE_ACCOUNT_ID_KEY": "vitally"}, ["acme"]),
    ],
)
def test_metadata_names_the_account_as_it_stands(given: Any, accounts: Any) -> None:
    told = customer("cus_1", metadata={"vitally": "acme", "customer": "cus_x"})
    reader = Reader(SOURCE, STRIPE_MODE="test", STRIPE_CONNECT=True, **given)
    (fact,) = reader.facts(happened("acct_1", "customer.created", told))

    assert "stripe:acct_1/cus_1" == fact.party
    assert accounts == [fact.value["account"]]


def test_a_payment_of_a_connected_account_is_its_customer_s() -> None:
    paid = {"object": "invoice", "id": "in_1", "customer": "cus_1", "status": "paid"}
    paid |= {"amount_paid": 100, "currency": "usd", "created": NOW}
    paid["status_transitions"] = {"paid_at": NOW}
    use = {USED: frozenset({"lastPaidAt"})}
    reader = Reader(SOURCE, STRIPE_MODE="test", STRIPE_CONNECT=True, **use)
    facts = reader.facts(happened("acct_1", "invoice.paid", paid))

    assert {"stripe:acct_1/cus_1"} == {fact.party for fact in facts}


def test_a_thin_event_of_another_account_is_ignored_and_says_why() -> None:
    thin = {"id": "evt_1", "object": "v2.core.event", "created": "2026-11-01T00:00:00Z"}
    thin |= {"type": "v1.customer.updated", "livemode": False, "context": "acct_1"}
    thin["related_object"] = {"id": "cus_1", "type": "customer"}
    reader = Reader(SOURCE, STRIPE_MODE="test", STRIPE_CONNECT=True)

    assert "only snapshots" in reader.why_not(thin)
    assert not reader.why_not({**thin, "context": None})


def test_what_people_wrote_and_what_is_too_deep_stays_as_it_is() -> None:
    deep: Any = {"customer": "cus_1"}
    for _ in range(DEEPEST):
        deep = [deep]
    body = {
        "object": "customer",
        "id": "cus_1",
        "description": "cus_1",
        "metadata": {"customer": "cus_1"},
        "applies_to": {"products": ["prod_1"]},
        "default_source": None,
        "deep": deep,
    }
    expected = {**body, "id": "a/cus_1", "applies_to": {"products": ["a/prod_1"]}}

    assert expected == qualified("a", body)


# --- Its API ---------------------------------------------------------------------------


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    with LocalStripe() as running:
        running.put(customer("cus_1", name="Own"))
        for n, account in enumerate(("acct_1", "acct_empty", "acct_2")):
            running.put(account=account)
            if n != 1:
                running.put(customer("cus_1", name=account), account=account)
        yield running


def api(stripe: LocalStripe, **more: Any) -> StripeApi:
    own = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url, "STRIPE_MODE": "test"}
    made = connect({**DEFAULTS, **own, "STRIPE_CONNECT": True, **more})
    assert made is not None
    return made


def test_a_customer_is_read_from_its_own_account(stripe: LocalStripe) -> None:
    off = coupon(percent=50.0, applies_to={"products": ["prod_1"]})
    line = item(price(nickname=None), discounts=[discount(off)])
    stripe.put(subscription("sub_1", "cus_1", line), off, account="acct_2")
    stripe.put({"object": "product", "id": "prod_1", "name": "Its"}, account="acct_2")
    facts = {one.thing: one for one in api(stripe).party("stripe:acct_2/cus_1")}
    (own,) = [
        one for one in api(stripe).party("stripe:cus_1") if one.thing != REFRESHED
    ]
    (found,) = facts["subscription:sub_1"].value["items"]

    assert {"stripe:acct_2/cus_1"} == {one.party for one in facts.values()}
    assert ("acct_2", "Own") == (facts["customer"].value["name"], own.value["name"])
    assert ("acct_2/price_1", "Its") == (found["price"], found["product_name"])
    assert "acct_2/prod_1" == found["product"]
    assert "acct_2/HALF" == found["discounts"][0]["coupon"]
    assert ["acct_2/prod_1"] == found["discounts"][0]["products"]


def test_an_id_with_a_slash_is_one_s_own_if_it_begins_with_no_account(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("team/7", name="Old"))
    (told, _) = api(stripe).party("stripe:team/7")

    assert "Old" == told.value["name"]


def test_an_account_that_the_key_may_not_read_is_refused(stripe: LocalStripe) -> None:
    with pytest.raises(SourceError) as raised:
        api(stripe).party("stripe:acct_gone/cus_1")

    assert raised.value.refused


@pytest.mark.parametrize("connected", [True, False])
def test_a_backfill_lists_the_customers_of_each_account(
    stripe: LocalStripe, connected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.sources.stripe.api.MOST", 1)
    stripe.put(customer("cus_2", created=2), customer("cus_3", created=1))
    found, _ = listed(api(stripe, STRIPE_CONNECT=connected))
    theirs = ["stripe:acct_2/cus_1", "stripe:acct_1/cus_1"] if connected else []

    assert ["stripe:cus_1", "stripe:cus_2", "stripe:cus_3", *theirs] == found


def listed(read: StripeApi, after: str = "") -> tuple[list[str], list[str]]:
    """All parties, page by page, and the notes."""
    page = read.parties(None, after)
    parties, notes = [*page.rows], [page.note] if page.note else []
    if page.after:
        more, others = listed(read, page.after)
        return parties + more, notes + others
    return parties, notes


def revoked(stripe: LocalStripe, *accounts: str) -> None:
    """Stripe's answers once these connected accounts have ended the access."""
    whole = stripe.answer

    def answer(asked: Asked) -> Reply:
        if asked.headers.get("Stripe-Account") in accounts:
            raise refused(403, f"The key does not have access ({SECRET_PART})")
        return whole(asked)

    stripe.answer = answer  # type: ignore[method-assign]


def test_an_account_that_refuses_is_passed_over_with_a_note(
    stripe: LocalStripe,
) -> None:
    revoked(stripe, "acct_2")
    parties, notes = listed(api(stripe))
    resumed, _ = listed(api(stripe), "stripe:acct_2/cus_1")

    assert ["stripe:cus_1", "stripe:acct_1/cus_1"] == parties
    assert ["stripe:acct_1/cus_1"] == resumed
    assert ["acct_2 is passed over"] == [one.partition(":")[0] for one in notes]
    assert SECRET_PART not in notes[0]


def test_one_s_own_customers_are_listed_by_a_key_that_may_not_list_accounts(
    stripe: LocalStripe,
) -> None:
    stripe.forbidden = {"accounts"}
    parties, (note,) = listed(api(stripe))

    assert ["stripe:cus_1"] == parties
    assert "no connected account is read: STRIPE_API_KEY may not read accounts" in note


def test_a_key_that_is_refused_meanwhile_passes_over_nothing(
    stripe: LocalStripe,
) -> None:
    read = api(stripe)
    stripe.key = "rk_test_another"

    for after in ("", "stripe:acct_2/"):
        with pytest.raises(SourceError, match="401"):
            read.parties(None, after)


def test_a_key_that_may_not_list_accounts_is_told(stripe: LocalStripe) -> None:
    stripe.forbidden = {"accounts"}

    with pytest.raises(SourceError, match="rak_account_read"):
        api(stripe).probe()
    assert api(stripe, STRIPE_CONNECT=False).probe()


def test_they_are_not_claimed_to_be_complete(
    desk: Bench, redis_server: RedisServer
) -> None:
    more = {"STRIPE_API_KEY": "rk_live_example", "STRIPE_CONNECT": "true"}
    chosen = settings(desk.vitally.url, redis_server.url, **more)
    before = complete(figures(desk.redis), chosen)["Stripe"]
    Completeness(desk.redis).put("stripe", Checkpoint(1, 2))
    after = complete(figures(desk.redis), chosen)["Stripe"]

    assert "not compared with its own list: not yet" == before
    assert after.endswith(
        "; events of connected accounts are not in its list, and not compared"
    )
