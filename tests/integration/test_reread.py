"""When a worker reads a party from its source, and what it does where that fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from bridge.domain.facts import Fact, Rank, Stamp, pointer
from bridge.domain.fold import History, fold
from bridge.domain.values import TO_REFRESH
from bridge.sources import discover
from bridge.sources.stripe.api import connect
from bridge.store import keys
from bridge.store.view import Member
from tests.support import local_stripe
from tests.support.desk import NOON, Bench, bench, customer, subscription
from tests.support.local_stripe import KEY, LocalStripe
from workers.refresh import restamped

POINTER = pointer("stripe", "subscription:sub_1")


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    with LocalStripe() as running:
        running.clock = lambda: NOON / 1000 + 3600
        running.put(
            local_stripe.customer("cus_1", name="Acme"),
            local_stripe.subscription("sub_1", "cus_1"),
        )
        yield running


@pytest.fixture
def desk(redis: Redis, stripe: LocalStripe) -> Iterator[Bench]:
    with bench(redis) as made:
        values = {
            option.name: option.default for option in discover()["stripe"].options
        }
        values |= {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url}
        made.context.apis["stripe"] = connect(values | {"STRIPE_MODE": "test"})
        yield made


def thin(at: int = 0, event: str = "evt_thin") -> Fact:
    stamp = Stamp(False, NOON + at * 1000, 2)
    kind = "v1.customer.subscription.updated"
    return Fact(POINTER, TO_REFRESH, stamp, event, kind, {"event": event}, event)


def met(**more: Any) -> Fact:
    """A subscription of a customer whose creation was never seen."""
    return subscription(at=5, account="cus_1", **more)


def test_a_customer_met_in_mid_life_is_read_once(
    desk: Bench, stripe: LocalStripe
) -> None:
    desk.tell(met(), met())

    assert ["created"] == desk.work()

    assert ("Acme", 49) == (desk.name("cus_1"), desk.traits("cus_1")["mrr"])
    assert 1 == sum(path == "/v1/customers/cus_1" for path in stripe.paths())
    assert not desk.redis.scard(keys.INCOMPLETE)


def test_without_a_key_it_is_marked_incomplete(redis: Redis) -> None:
    with bench(redis) as desk:
        desk.tell(met())
        desk.work()

        assert {b"stripe:cus_1"} == desk.redis.smembers(keys.INCOMPLETE)


def test_what_an_event_does_not_tell_is_read(desk: Bench, stripe: LocalStripe) -> None:
    desk.tell(customer(account="cus_1"))
    desk.work()
    assert [] == stripe.paths()
    desk.passes(60_000)

    desk.tell(met(discounts=[{"id": "di_1"}]))
    desk.work()

    assert 49 == desk.traits("cus_1")["mrr"]


def test_what_a_coupon_is_for_is_read_once(desk: Bench, stripe: LocalStripe) -> None:
    limited = local_stripe.coupon("HALF", applies_to={"products": ["prod_2"]})
    other = local_stripe.price(
        "price_2", 2000, product={"id": "prod_2", "object": "product"}
    )
    items = local_stripe.item(), local_stripe.item(other, id_="si_2")
    held = local_stripe.discount(limited, id_="di_1")
    stripe.put(limited)
    stripe.put(local_stripe.subscription("sub_1", "cus_1", *items, discounts=[held]))
    month = {"interval": "month", "ends": NOON}
    told = [
        {"price": "price_1", "product": "prod_1", "unit": "4900", **month},
        {"price": "price_2", "product": "prod_2", "unit": "2000", **month},
    ]
    terms = {"id": "di_1", "coupon": "HALF", "percent": "50", "duration": "forever"}
    desk.tell(customer(account="cus_1"), met(items=told, discounts=[terms]))

    desk.work()

    assert 59 == desk.traits("cus_1")["mrr"]
    asked = len(stripe.paths())
    desk.passes(60_000)
    more = [{**told[0], "quantity": 2}, told[1]]
    desk.tell(subscription(at=4000, items=more, discounts=[{"id": "di_1"}]))
    desk.work()
    assert (108, asked) == (desk.traits("cus_1")["mrr"], len(stripe.paths()))


def test_a_subscription_that_a_reading_no_longer_tells_has_ended(
    desk: Bench, stripe: LocalStripe
) -> None:
    desk.tell(met())
    desk.work()
    assert 49 == desk.traits("cus_1")["mrr"]
    desk.passes(60_000)

    stripe.forget("subscriptions", "sub_1")
    desk.tell(thin(at=90)._replace(party="stripe:cus_1"))
    desk.work()

    assert ("churned", None) == (
        desk.traits("cus_1")["subscriptionStatus"],
        desk.traits("cus_1").get("mrr"),
    )


def test_a_reading_that_does_not_help_is_not_repeated(
    desk: Bench, stripe: LocalStripe
) -> None:
    local = local_stripe.price(unit=None)
    stripe.put(local_stripe.subscription("sub_1", "cus_1", local_stripe.item(local)))
    desk.tell(met())
    desk.work()
    asked = len(stripe.paths())
    desk.passes(60_000)

    desk.tell(customer(at=6, account="cus_1", kind="updated"))
    desk.work()

    assert asked == len(stripe.paths())
    assert "mrr" not in desk.traits("cus_1")


@pytest.mark.parametrize(("fault", "seconds"), [("500", 60), ("429", 1), ("401", 3600)])
def test_a_failure_falls_back_to_what_is_known_and_is_tried_later(
    fault: str, seconds: float, desk: Bench, stripe: LocalStripe
) -> None:
    if fault == "401":
        stripe.key = "rk_test_another"
    else:
        stripe.fail(fault)
    desk.tell(met(unit=10000))

    assert ["created"] == desk.work()

    assert 100 == desk.traits("cus_1")["mrr"]
    assert seconds == pytest.approx(desk.due_in(), abs=2)
    stripe.key = KEY
    desk.redis.hdel(keys.party("stripe:cus_1"), "read_after")
    desk.passes(seconds * 1000 + 60_000)
    desk.work()
    assert 49 == desk.traits("cus_1")["mrr"]


def test_an_end_for_ever_that_is_read_says_more_than_the_event_of_it() -> None:
    """The clock of a reading has whole seconds, and may be behind."""
    at = NOON + 238
    known = Fact("x:1", "customer", Stamp(True, at, 0), "evt_1", "k", {"old": 1}, "a")
    read = known._replace(
        stamp=Stamp(True, NOON - 1, Rank.FROM_API),
        event="read:1",
        value={"new": 1},
        after="b",
    )
    history = History([known])
    member = Member("x:1", 1, history, fold(history), "acme")

    made = restamped([read], member)

    assert {"new": 1} == fold(History([known, *made]))["customer"].value
    assert [at] == [fact.stamp.at for fact in made]


def test_a_thin_event_is_answered_by_a_reading(desk: Bench) -> None:
    desk.tell(thin())

    assert ["unchanged", "created"] == desk.work()

    assert 49 == desk.traits("cus_1")["mrr"]
    assert 0 == desk.check().held


@pytest.mark.parametrize("later", [0, 1])
def test_each_later_thin_event_is_answered_by_one_more_reading(
    later: int, desk: Bench, stripe: LocalStripe
) -> None:
    stripe.clock = lambda: NOON / 1000 + 1
    desk.tell(thin())
    desk.work()
    desk.passes(60_000)
    price = local_stripe.price("price_2", unit=9900)
    stripe.put(local_stripe.subscription("sub_1", "cus_1", local_stripe.item(price)))

    desk.tell(thin(later, "evt_thin_2"))
    desk.work()

    assert 99 == desk.traits("cus_1")["mrr"]


def test_a_thin_event_of_something_that_is_gone_changes_nothing(
    desk: Bench, stripe: LocalStripe
) -> None:
    stripe.forget("subscriptions", "sub_1")
    desk.tell(thin())

    assert ["unchanged"] == desk.work()
    assert [] == desk.writes()


def test_without_a_key_a_thin_event_is_held_and_says_what_it_needs(
    redis: Redis,
) -> None:
    with bench(redis) as desk:
        desk.tell(thin())

        assert ["held"] == desk.work()

        [(standing, _)] = desk.look.listed(keys.HELD)
        assert standing.why.startswith("needs STRIPE_API_KEY")
        assert (1, {POINTER.encode()}) == (
            desk.check().held,
            desk.redis.smembers(keys.UNREAD),
        )


def test_a_key_that_is_set_later_settles_what_was_held(
    redis: Redis, desk: Bench
) -> None:
    with bench(redis) as keyless:
        keyless.tell(thin())
        keyless.work()

    desk.jobs.resume()
    desk.work()

    assert 49 == desk.traits("cus_1")["mrr"]
    assert (0, 0) == (desk.check().held, redis.scard(keys.UNREAD))


def test_tiers_that_were_read_are_known_to_the_next_webhook(
    desk: Bench, stripe: LocalStripe
) -> None:
    tiers = [{"up_to": None, "unit_amount": 700, "flat_amount": None}]
    price = local_stripe.price(unit=None, tiers=tiers, tiers_mode="graduated")
    item = local_stripe.item(price, quantity=2)
    stripe.put(price, local_stripe.subscription("sub_1", "cus_1", item))
    tiered = {"price": "price_1", "scheme": "tiered", "interval": "month"}
    tiered |= {"ends": NOON + 30 * 86_400_000}
    desk.tell(met(items=[tiered | {"quantity": 2}]))
    desk.work()
    assert 14 == desk.traits("cus_1")["mrr"]
    asked = len(stripe.paths())
    desk.passes(60_000)

    desk.tell(subscription(at=7200, items=[tiered | {"quantity": 3}]))
    desk.work()

    assert 21 == desk.traits("cus_1")["mrr"]
    assert asked == len(stripe.paths())
