"""When a worker refreshes a party from its source, and what it does where that fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from bridge.domain.facts import Fact, Rank, Stamp, pointer
from bridge.domain.fold import History, fold
from bridge.domain.refresh import restamped
from bridge.domain.values import TO_REFRESH
from bridge.sources.stripe.api import connect
from bridge.store import keys
from bridge.store.view import Member
from tests.sources.stripe import KNOWN
from tests.support import local_stripe
from tests.support.desk import NOON, Bench, bench, customer, subscription
from tests.support.local_stripe import KEY, LocalStripe, coupon, discount, item, price

POINTER = pointer("stripe", "subscription:sub_1")
MONTHLY = {"interval": "month", "ends": NOON + 30 * 86_400_000}


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    with LocalStripe() as running:
        running.clock = lambda: NOON / 1000 + 3600
        running.put(local_stripe.customer("cus_1", name="Acme"), shown())
        yield running


@pytest.fixture
def desk(redis: Redis, stripe: LocalStripe) -> Iterator[Bench]:
    own = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url, "STRIPE_MODE": "test"}
    with bench(redis) as made:
        made.context.apis["stripe"] = connect(KNOWN[0].options | own)
        yield made


def shown(*items: Any, **more: Any) -> dict[str, Any]:
    """The subscription as Stripe has it, of 49 a month unless it has other *items*."""
    return local_stripe.subscription("sub_1", "cus_1", *items, **more)


def thin(at: int = 0, event: str = "evt_thin", party: str = POINTER) -> Fact:
    stamp = Stamp(False, NOON + at * 1000, 2)
    kind = "v1.customer.subscription.updated"
    return Fact(party, TO_REFRESH, stamp, event, kind, {"event": event}, event)


def met(**more: Any) -> Fact:
    """A subscription of a customer whose creation was never seen."""
    return subscription(at=5, account="cus_1", **more)


def mrr(desk: Bench) -> Any:
    return desk.traits("cus_1").get("mrr", "left out")


def later(desk: Bench, *facts: Fact) -> None:
    """These facts come a minute later, and all work is done."""
    desk.passes(60_000)
    desk.tell(*facts)
    desk.work()


def test_a_customer_met_in_mid_life_is_read_once(
    desk: Bench, stripe: LocalStripe
) -> None:
    desk.tell(met(), met())

    assert ["created"] == desk.work()
    assert ("Acme", 49) == (desk.name("cus_1"), mrr(desk))
    assert 1 == stripe.paths().count("/v1/customers/cus_1")
    assert not desk.redis.scard(keys.INCOMPLETE)


def test_what_an_event_does_not_tell_is_read(desk: Bench, stripe: LocalStripe) -> None:
    desk.tell(customer(account="cus_1"))
    desk.work()
    assert [] == stripe.paths()

    later(desk, met(discounts=[{"id": "di_1"}]))

    assert 49 == mrr(desk)


def test_what_a_coupon_is_for_is_read_once(desk: Bench, stripe: LocalStripe) -> None:
    limited = coupon("HALF", applies_to={"products": ["prod_2"]})
    other = price("price_2", 2000, product={"id": "prod_2", "object": "product"})
    items = item(), item(other, id_="si_2")
    stripe.put(limited, shown(*items, discounts=[discount(limited)]))
    one = {"price": "price_1", "product": "prod_1", "unit": "4900", **MONTHLY}
    two = {"price": "price_2", "product": "prod_2", "unit": "2000", **MONTHLY}
    terms = {"id": "di_1", "coupon": "HALF", "percent": "50", "duration": "forever"}
    desk.tell(customer(account="cus_1"), met(items=[one, two], discounts=[terms]))
    desk.work()
    assert 59 == mrr(desk)
    asked = len(stripe.paths())

    more = [{**one, "quantity": 2}, two]
    later(desk, subscription(at=4000, items=more, discounts=[{"id": "di_1"}]))

    assert (108, asked) == (mrr(desk), len(stripe.paths()))


def test_tiers_that_were_read_are_known_to_the_next_webhook(
    desk: Bench, stripe: LocalStripe
) -> None:
    tiers = [{"up_to": None, "unit_amount": 700, "flat_amount": None}]
    tiered = price(unit=None, tiers=tiers, tiers_mode="graduated")
    stripe.put(tiered, shown(item(tiered, quantity=2)))
    known = {"price": "price_1", "scheme": "tiered", **MONTHLY}
    desk.tell(met(items=[known | {"quantity": 2}]))
    desk.work()
    assert 14 == mrr(desk)
    asked = len(stripe.paths())

    later(desk, subscription(at=7200, items=[known | {"quantity": 3}]))

    assert (21, asked) == (mrr(desk), len(stripe.paths()))


def test_an_amount_in_another_currency_that_was_read_is_known_to_the_next_webhook(
    desk: Bench, stripe: LocalStripe
) -> None:
    """The price's own amounts are of another currency, so they are never taken for it."""
    either = price(currency_options={"eur": {"unit_amount": 4500}})
    own = price("price_2", unit=None, tiers_mode="volume", tiers=[{"unit_amount": 700}])
    both = [item(either), item(own, id_="si_2", quantity=0)]
    stripe.put(either, own, shown(*both[:1], currency="eur"))
    stripe.put(local_stripe.subscription("sub_2", "cus_1", *both[1:]))
    known = {"price": "price_1", "priced_as": "price_1:eur", **MONTHLY}
    desk.tell(met(items=[known], currency="eur"))
    desk.work()
    assert 45 == mrr(desk)
    asked = len(stripe.paths())

    more = [known | {"quantity": 3}]
    later(desk, subscription(at=7200, items=more, currency="eur"))
    assert (135, asked) == (mrr(desk), len(stripe.paths()))

    tiered = {"price": "price_2", "priced_as": "price_2:eur", "scheme": "tiered"}
    later(desk, subscription(at=9000, items=[tiered | MONTHLY], currency="eur"))
    assert 135 == mrr(desk)  # it is unknown, so the last one stays


def test_a_subscription_that_a_refresh_no_longer_tells_has_ended(
    desk: Bench, stripe: LocalStripe
) -> None:
    desk.tell(met())
    desk.work()
    assert 49 == mrr(desk)

    stripe.forget("subscriptions", "sub_1")
    later(desk, thin(at=90, party="stripe:cus_1"))

    assert "churned" == desk.traits("cus_1")["subscriptionStatus"]
    assert not desk.traits("cus_1").get("mrr")


def test_a_refresh_that_does_not_help_is_not_repeated(
    desk: Bench, stripe: LocalStripe
) -> None:
    stripe.put(shown(item(price(unit=None))))
    desk.tell(met())
    desk.work()
    asked = len(stripe.paths())

    later(desk, customer(at=6, account="cus_1", kind="updated"))

    assert ("left out", asked) == (mrr(desk), len(stripe.paths()))


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
    assert 100 == mrr(desk)
    assert seconds == pytest.approx(desk.due_in(), abs=2)

    stripe.key = KEY
    desk.redis.hdel(keys.party("stripe:cus_1"), "read_after")
    desk.passes(seconds * 1000 + 60_000)
    desk.work()

    assert 49 == mrr(desk)


def test_an_end_for_ever_that_is_read_says_more_than_the_event_of_it() -> None:
    """The clock of a refresh has whole seconds, and may be behind."""
    at = NOON + 238
    known = Fact("x:1", "customer", Stamp(True, at, 0), "evt_1", "k", {"old": 1}, "a")
    stamp, value = Stamp(True, NOON - 1, Rank.FROM_API), {"new": 1}
    event = f"read:{stamp.at}"
    read = known._replace(stamp=stamp, event=event, value=value, after="b")
    history = History([known])
    member = Member("x:1", 1, history, fold(history))

    made = restamped([read], member.party({}))

    assert {"new": 1} == fold(History([known, *made]))["customer"].value
    assert [at] == [fact.stamp.at for fact in made]


# --- events without content, and a key that is not there ----------------------------


def test_a_thin_event_is_answered_by_a_refresh(desk: Bench) -> None:
    desk.tell(thin())

    assert ["unchanged", "created"] == desk.work()
    assert (49, 0) == (mrr(desk), desk.check().held)


@pytest.mark.parametrize("seconds", [0, 1])
def test_each_later_thin_event_is_answered_by_one_more_refresh(
    seconds: int, desk: Bench, stripe: LocalStripe
) -> None:
    stripe.clock = lambda: NOON / 1000 + 1
    desk.tell(thin())
    desk.work()
    stripe.put(shown(item(price("price_2", unit=9900))))

    later(desk, thin(seconds, "evt_thin_2"))

    assert 99 == mrr(desk)


def test_a_thin_event_of_something_that_is_gone_changes_nothing(
    desk: Bench, stripe: LocalStripe
) -> None:
    stripe.forget("subscriptions", "sub_1")
    desk.tell(thin())

    assert ["unchanged"] == desk.work()
    assert [] == desk.writes()


def test_without_a_key_a_customer_met_in_mid_life_is_marked_incomplete(
    redis: Redis,
) -> None:
    with bench(redis) as desk:
        desk.tell(met())
        desk.work()

        assert {b"stripe:cus_1"} == desk.redis.smembers(keys.INCOMPLETE)


def test_without_a_key_a_thin_event_is_held_until_there_is_one(
    redis: Redis, desk: Bench
) -> None:
    with bench(redis) as keyless:
        keyless.tell(thin())

        assert ["held"] == keyless.work()
        [(standing, _)] = keyless.look.listed(keys.HELD)
        assert standing.why.startswith("needs STRIPE_API_KEY")
        assert 1 == keyless.check().held
        assert {POINTER.encode()} == redis.smembers(keys.UNREAD)

    desk.jobs.resume()
    desk.work()

    assert 49 == mrr(desk)
    assert (0, 0) == (desk.check().held, redis.scard(keys.UNREAD))
