"""What a subscription refers to: discounts, coupons, prices and products told apart."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from bridge.domain.account import Party, unite
from bridge.domain.catalogue import references
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.money import Policy
from tests.support.lives import by_party

DAY = 86_400_000
ITEM = {
    "price": "price_1",
    "product": "prod_1",
    "unit": "10000",
    "interval": "month",
    "ends": 30 * DAY,
}
TERMS = {"percent": "50", "duration": "forever"}


def told(thing: str, at: int, value: dict[str, Any], *, final: bool = False) -> Fact:
    """A snapshot of *thing*, *at* days after the beginning."""
    event = f"evt_{thing}_{at}"
    stamp = Stamp(final, at * DAY, 2)
    return Fact("stripe:cus_1", thing, stamp, event, "k", value, event)


def subscribed(at: int = 1, item: dict[str, Any] | None = None, **more: Any) -> Fact:
    value = {"status": "active", "currency": "usd", "items": [item or ITEM], **more}
    return told("subscription:sub_1", at, value)


def customer(at: int = 0, **more: Any) -> Fact:
    return told("customer", at, {"name": "Acme", "account": "acme", **more})


def discount(at: int = 1, **more: Any) -> Fact:
    value = {"id": "di_1", "coupon": "half", "subscription": "sub_1", **more}
    final = bool(more.get("deleted"))
    return told("discount:di_1", at, value, final=final)


def coupon(at: int = 0, **more: Any) -> Fact:
    return told("coupon:half", at, {**TERMS, **more})


def read(*facts: Fact, policy: Policy | None = None, day: int = 2) -> Document:
    """The document of one customer; facts of the catalogue are told apart."""
    shared = ("coupon:", "price:", "product:")
    own = [fact for fact in facts if not fact.thing.startswith(shared)]
    others = [
        fact._replace(party=fact.thing.partition("@")[0])
        for fact in facts
        if fact.thing.startswith(shared)
    ]
    listed = {name: fold(History(told)) for name, told in by_party(others).items()}
    party = Party("stripe:cus_1", fold(History(own)), listed)
    return document(unite("acme", [party]), policy or Policy(), day * DAY)


TEN_OFF = {"amount": "1000", "currency": "usd", "duration": "forever"}
EURO_OFF = TEN_OFF | {"currency": "eur"}
LISTED = subscribed(discounts=[{"id": "di_1"}])


@pytest.mark.parametrize(
    ("expected", "facts"),
    [
        (None, [LISTED]),
        (None, [LISTED, discount()]),
        (None, [LISTED, coupon()]),
        (50, [LISTED, discount(), coupon()]),
        (50, [LISTED, discount(**TERMS)]),
        (50, [subscribed(discounts=[{"id": "di_1", "coupon": "half"}]), coupon()]),
        (
            50,
            [
                subscribed(item={**ITEM, "discounts": [{"id": "di_1"}]}),
                coupon(),
                discount(item="si_1"),
            ],
        ),
        (100, [LISTED, discount(), discount(2, deleted=True), coupon()]),
        (100, [LISTED, discount(), coupon(duration="once")]),
        (90, [LISTED, discount(), told("coupon:half", 0, TEN_OFF)]),
        (None, [LISTED, discount(), told("coupon:half", 0, EURO_OFF)]),
        (100, [LISTED, discount(), coupon(products=["prod_2"])]),
        (90, [LISTED, discount(**TERMS | {"percent": "10"}), coupon()]),
        # It began with the subscription's snapshot, after it, or is over since.
        (50, [subscribed(1), discount(1), coupon()]),
        (50, [subscribed(1), discount(2), coupon()]),
        (100, [subscribed(2), discount(1), coupon()]),
        # Of an item alone, or of another subscription.
        (100, [subscribed(1), discount(2, item="si_1"), coupon()]),
        (100, [subscribed(1), discount(2, subscription="sub_2"), coupon()]),
    ],
)
def test_a_discount_is_put_together_from_all_that_tells_of_it(expected, facts) -> None:
    found = {repr(read(*order).traits.get("mrr")) for order in permutations(facts)}

    assert {repr(expected)} == found


@pytest.mark.parametrize(
    ("expected", "facts"),
    [
        (50, [customer(), discount(1, subscription=None), coupon()]),
        (50, [discount(0, subscription=None), coupon()]),
        (50, [customer(discounts=[{"id": "di_1", **TERMS}])]),
        (50, [customer(discounts=[{"coupon": "half"}]), coupon()]),
        (100, [customer(2), discount(1, subscription=None), coupon()]),
        (
            100,
            [
                customer(discounts=[{"id": "di_1", **TERMS}]),
                discount(2, subscription=None, deleted=True),
            ],
        ),
    ],
)
def test_a_customer_s_discount_counts_where_the_subscription_has_none(
    expected, facts
) -> None:
    assert expected == read(subscribed(), *facts).traits["mrr"]


def of_customer(id_: str, at: int, percent: str, **more: Any) -> Fact:
    value = {**TERMS, "id": id_, "coupon": id_, "percent": percent, **more}
    return told(f"discount:{id_}", at, value, final=bool(more.get("deleted")))


@pytest.mark.parametrize(
    ("expected", "others"),
    [
        (90, [of_customer("di_1", 2, "20", deleted=True)]),
        (90, [of_customer("di_1", 3, "20", deleted=True)]),
        (90, [of_customer("di_1", 2, "20", start=2 * DAY, deleted=True)]),
        (90, [of_customer("di_1", 3, "20", start=1 * DAY, deleted=True)]),
        (100, [of_customer("di_1", 3, "20", start=3 * DAY, deleted=True)]),
        (80, [of_customer("di_1", 3, "20", start=3 * DAY)]),
        (80, [of_customer("di_1", 3, "20")]),
    ],
)
def test_of_two_discounts_of_a_customer_the_last_that_began_counts(
    expected: int, others: list[Fact]
) -> None:
    facts = [subscribed(), customer(1), of_customer("di_2", 2, "10", start=2 * DAY)]

    for order in permutations([*facts, *others]):
        assert expected == read(*order, day=9).traits["mrr"]


@pytest.mark.parametrize(("day", "ends"), [(0, 90), (1, 90), (2, 3)])
def test_the_newer_word_on_a_discount_s_end_counts(day: int, ends: int) -> None:
    months = TERMS | {"duration": "repeating"}
    late = subscribed(1, discounts=[{"id": "di_1", **months, "ends": 90 * DAY}])
    sooner = discount(day, **months, ends=3 * DAY)

    found = read(late, sooner, policy=Policy(discounts="active"))

    assert ends * DAY == found.until


NAMED = {**ITEM, "name": "Month", "product_name": "Team"}


@pytest.mark.parametrize(
    ("expected", "item", "facts"),
    [
        (None, {}, []),
        ("Team", {}, [told("product:prod_1", 0, {"name": "Team"})]),
        ("Month", {}, [told("price:price_1", 2, {"name": "Month"})]),
        (
            "Month",
            {},
            [
                told("price:price_1", 2, {"name": "Month"}),
                told("product:prod_1", 3, {"name": "Team"}),
            ],
        ),
        (None, {}, [told("price:price_1", 1, {"name": "Month"})]),
        ("month_1", {}, [told("price:price_1", 2, {"lookup": "month_1"})]),
        # Beside its item a product's name stays until a later one.
        ("Crew", {"product_name": "Crew"}, [told("product:prod_1", 1, {"name": "T"})]),
        ("T", {"product_name": "Crew"}, [told("product:prod_1", 2, {"name": "T"})]),
        # A nickname that was taken away since is no name.
        ("Month", NAMED, []),
        ("Team", NAMED, [told("price:price_1", 2, {})]),
    ],
)
def test_a_plan_has_the_name_that_was_told_last(expected, item, facts) -> None:
    found = read(subscribed(1, item={**ITEM, **item}), *facts)

    assert expected == found.traits["planName"]


def test_what_a_party_needs_of_the_catalogue_is_what_it_refers_to() -> None:
    item = {**ITEM, "discounts": [{"id": "di_9", "coupon": "item"}]}
    facts = [
        subscribed(item=item, discounts=[{"id": "di_1", "coupon": "known", **TERMS}]),
        discount(1),
        customer(discounts=[{"coupon": "whole"}]),
        told("subscription:sub_2", 1, {"discounts": [{"coupon": "alone"}]}),
    ]

    expected = {"price:price_1", "product:prod_1"}
    expected |= {"coupon:item", "coupon:half", "coupon:whole", "coupon:alone"}
    assert expected == references(fold(History(facts)))
    ended = subscribed(2, status="canceled")
    assert set() == references(fold(History([ended])))


TIERS = [{"up_to": 5, "unit": "700"}, {"up_to": None, "unit": "600"}]


@pytest.mark.parametrize(
    ("mrr", "name", "more"),
    [
        (60, "Team", []),
        (60, "Team", [told("price:price_1", 0, {"created": 0})]),
        (60, "Team", [told("price:price_1", 1, {"created": DAY})]),
        # Another plan has that id since it was read.
        (None, "Team", [told("price:price_1", 2, {"created": 2 * DAY})]),
        (60, "Crew", [told("product:prod_1", 3, {"name": "Crew"})]),
        (60, "Team", [told("product:prod_1", 0, {"name": "Crew"})]),
    ],
)
def test_what_only_the_api_tells_outlives_the_next_webhook(mrr, name, more) -> None:
    tiers = {"price_1": {"tiers": TIERS, "tiers_mode": "volume"}}
    refreshed = told("read", 1, {"tiers": tiers, "names": {"prod_1": "Team"}})
    tiered = {k: v for k, v in ITEM.items() if k != "unit"}
    tiered |= {"scheme": "tiered", "quantity": 10}

    found = read(subscribed(2, item=tiered), refreshed, *more)

    assert (mrr, name) == (found.traits.get("mrr"), found.traits["planName"])
    assert ("tiers" in found.unknown.get("mrr", "")) == (mrr is None)
