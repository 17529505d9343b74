"""One subscription: whether it was live, what it pays a month, when it renews and ends.

The ways of a life are in `tests/cases/stripe.toml`; here are edges and reasons.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.money import UnknownError
from bridge.domain.subscription import (
    Subscription,
    at,
    cancels_at,
    discount_ends,
    payment,
    plan_names,
    read,
    renews_at,
    seats,
)

NOW = 1_700_000_000_000
DAY = 86_400_000

MONTHLY = {"unit": "5000", "interval": "month", "ends": NOW + 30 * DAY, "product": "p"}
YEARLY = {"unit": "120000", "interval": "year", "ends": NOW + 300 * DAY, "product": "q"}
METERED = {"unit": "7", "interval": "month", "usage": "metered", "ends": NOW + 5 * DAY}
WEEKLY = METERED | {"interval": "week"}
SETUP = {"unit": "9900", "one_time": True}
HALF = {"coupon": "half", "percent": "50", "duration": "forever"}


def told(*values: dict[str, Any], deleted_at: int | None = None) -> Subscription:
    """The subscription of which *values* were told, a day apart."""
    facts = [
        Fact(
            "x:1",
            "subscription:s",
            Stamp(value["status"] in {"canceled", "incomplete_expired"}, at, 2),
            f"evt_{at}",
            "k",
            value,
            str(at),
        )
        for at, value in zip(range(NOW, NOW + 9 * DAY, DAY), values, strict=False)
    ]
    return read("s", fold(History(facts))["subscription:s"], deleted_at)


def sub(*items: dict[str, Any], **value: Any) -> Subscription:
    """An active subscription in dollars."""
    own = {"status": "active", "currency": "usd", "items": list(items)}
    return told(own | value)


def statuses(words: str, **last: Any) -> Subscription:
    values: list[dict[str, Any]] = [{"status": word} for word in words.split()]
    values[-1] |= last
    return told(*values)


# --- What it pays -------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "items", "value"),
    [
        (20_000, [MONTHLY | {"count": 3, "unit": "30000", "quantity": 2}], {}),
        (15_000, [MONTHLY, YEARLY, METERED, SETUP], {}),
        (0, [{"usage": "metered"}], {}),
        (Fraction(52_000, 12), [MONTHLY | {"interval": "week", "unit": "1000"}], {}),
        (Fraction("1234.5"), [], {"mrr": "1234.5", "more": True}),
        (12_500, [MONTHLY | {"discounts": [HALF]}, YEARLY], {}),
        (5000, [MONTHLY | {"unit": "6000", "tax": ["20"]}], {"tax": ["50"]}),
        (6000, [MONTHLY | {"unit": "6000", "inclusive": True}], {}),
        (6000, [MONTHLY | {"unit": "6000"}], {"automatic_tax": True}),
    ],
)
def test_licensed_recurring_items_are_summed_by_the_month(
    expected, items, value
) -> None:
    assert expected == payment(sub(*items, **value)).monthly


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"items": [{"interval": "month"}]}, "an item: its unit amount"),
        ({"items": [{"unit": "1", "price": "price_1"}]}, "price_1: its interval"),
        ({"items": [MONTHLY], "more": True}, "part of its items"),
        ({"items": []}, "part of its items"),
        ({}, "part of its items"),
        ({"items": [MONTHLY | {"interval": "quarter"}]}, "its interval"),
        ({"items": [{"usage": "untold"}]}, "the price of its usage"),
        ({"items": [MONTHLY | {"tax": ["10", None]}]}, "rate of its tax"),
        ({"items": [MONTHLY], "tax": [None]}, "rate of its tax"),
        ({"items": [MONTHLY | {"unit": "-1"}]}, "less than zero"),
        ({"items": [MONTHLY, MONTHLY | {"unit": "-5001"}]}, "less than zero"),
        ({"mrr": "-0.5"}, "less than zero"),
        ({"items": [MONTHLY], "currency": None}, "its currency is not"),
        ({"items": [{"currency": "eur"}], "currency": None}, "several currencies"),
        ({"items": [MONTHLY], "discounts": [{"id": "di_1"}]}, "the terms .* di_1"),
        ({"items": [MONTHLY | {"discounts": [{}]}]}, "an item: the terms"),
        ({"items": [MONTHLY | {"inclusive": True}], "automatic_tax": True}, "a tax"),
    ],
)
def test_what_is_not_told_makes_the_amount_unknown_with_a_reason(value, reason) -> None:
    with pytest.raises(UnknownError, match=f"^s: .*{reason}"):
        payment(told({"status": "active", "currency": "usd"} | value))


def test_each_item_is_called_as_people_know_it() -> None:
    names = [
        {"name": "Pro", "product_name": "Product", "price": "price_1", "quantity": 3},
        {"product_name": "Product", "price": "price_1"},
        {"price": "price_1"},
        {},
    ]
    paid = payment(sub(*(MONTHLY | name for name in names)))

    assert [("Pro", 3), ("Product", 1), ("price_1", 1), ("", 1)] == [
        (item.price, item.quantity) for item in paid.items
    ]


def test_a_tax_is_in_neither_amount_of_an_item() -> None:
    taxed = MONTHLY | {"unit": "6000", "tax": ["20"]}

    (item,) = payment(sub(taxed, discounts=[HALF])).items

    assert (5000, 2500, ("half",)) == (item.gross, item.monthly, item.taken)


def test_a_discount_ends_whether_an_item_has_it_or_all() -> None:
    early, late = HALF | {"ends": NOW + DAY}, HALF | {"ends": NOW + 9 * DAY}

    item = MONTHLY | {"discounts": [early]}

    assert {NOW + DAY, NOW + 9 * DAY} == discount_ends(
        sub(item, discounts=[late, HALF])
    )


@pytest.mark.parametrize(
    ("days", "status"),
    [(0, "active"), (1, "incomplete"), (8, "incomplete"), (9, "active"), (30, "void")],
)
def test_between_two_of_its_items_it_has_not_begun(days: int, status: str) -> None:
    first = MONTHLY | {"until": NOW + DAY}
    second = MONTHLY | {"from": NOW + 9 * DAY, "until": NOW + 30 * DAY}

    assert status == at(sub(first, second), NOW + days * DAY).status


# --- Renewal and scheduled end ------------------------------------------------

PERIOD = {"unit": "1", "interval": "month"}
"""An item that does not say its period."""

UNENDED = "s: the end of its period is not in the event"


@pytest.mark.parametrize(
    ("items", "value", "days"),
    [
        ([MONTHLY, YEARLY], {}, 30),
        ([YEARLY, METERED], {}, 300),
        ([METERED], {}, None),
        ([MONTHLY], {"no_renewal": True}, None),
        ([MONTHLY], {"cancel_at_period_end": True}, None),
        ([MONTHLY], {"cancel_at": NOW + 30 * DAY + 1001}, 30),
        ([MONTHLY], {"cancel_at": NOW + 30 * DAY + 1000}, None),
        ([PERIOD], {"ends": NOW + 9 * DAY}, 9),
        ([], {"mrr": "5000", "ends": NOW + 9 * DAY}, 9),
        ([MONTHLY, {"interval": "year"}, WEEKLY], {"ends": NOW + 5 * DAY}, 30),
        ([PERIOD, SETUP | PERIOD], {"ends": NOW + 9 * DAY}, 9),
        ([PERIOD], {}, UNENDED),
        ([MONTHLY], {"more": True}, "s: the event holds only a part of its items"),
        ([{"interval": "year"}, WEEKLY], {"ends": NOW}, UNENDED),
    ],
)
def test_it_renews_with_the_first_licensed_item_that_does(items, value, days) -> None:
    """Of several intervals the subscription's own period is the shortest one's."""
    assert days == in_days(renews_at, sub(*items, **value))


@pytest.mark.parametrize(
    ("items", "value", "days"),
    [
        ([MONTHLY], {}, None),
        ([MONTHLY, YEARLY], {"cancel_at_period_end": True}, 30),
        ([YEARLY, METERED], {"cancel_at_period_end": True}, 5),
        ([], {"cancel_at_period_end": True, "ends": NOW + 3 * DAY}, 3),
        ([MONTHLY], {"cancel_at": NOW + DAY, "cancel_at_period_end": True}, 1),
        ([PERIOD], {"cancel_at_period_end": True}, UNENDED),
        ([MONTHLY], {"cancel_at_period_end": True, "more": True}, UNENDED),
    ],
)
def test_a_scheduled_end_is_told_or_the_first_item_s(items, value, days) -> None:
    """One whose time is not told is unknown: None would say that it does not end."""
    assert days == in_days(cancels_at, sub(*items, **value))


def in_days(date, of: Subscription) -> int | str | None:
    """Days until a *date*, or the reason why it is not known."""
    try:
        at = date(of)
    except UnknownError as error:
        return str(error)
    return None if at is None else (at - NOW) // DAY


def test_a_plan_is_called_by_its_nickname_else_its_product_else_its_key() -> None:
    every = {"name": "Pro", "product_name": "Product", "lookup": "key"}
    second = {"product_name": "Product", "lookup": "key"}
    usage = METERED | {"name": "Usage"}

    names = plan_names(sub(every, second, {"lookup": "key"}, {}, usage, plan="Told"))

    assert {"Pro", "Product", "key", "Told"} == names


# --- Life and death -----------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "last", "expected"),
    [
        ("active", {}, True),
        ("past_due", {}, True),
        ("unpaid", {}, True),
        ("trialing", {}, False),
        ("paused", {}, False),
        ("incomplete", {}, False),
        ("incomplete incomplete_expired", {}, False),
        ("incomplete canceled", {}, False),
        ("trialing canceled", {}, False),
        ("active paused canceled", {}, True),
        ("canceled", {}, True),
        ("canceled", {"ended_at": NOW, "trial_end": NOW}, False),
        ("canceled", {"ended_at": NOW, "trial_end": NOW - DAY}, True),
    ],
)
def test_it_was_live_if_it_ever_paid_or_should_have(words, last, expected) -> None:
    one = statuses(words, **last)

    assert expected == one.was_live
    assert one.is_live == (words in {"active", "past_due"})


LAST = {"trial_end": NOW + 14 * DAY, "items": [{"interval": "month"}]}
TRIED = "trialing canceled"


@pytest.mark.parametrize(
    ("words", "days", "last", "expected"),
    [
        (TRIED, 45, LAST, False),
        (TRIED, 46, LAST, True),
        ("trialing paused canceled", 380, LAST, False),
        ("trialing incomplete canceled", 380, LAST, False),
        (TRIED, 380, {"items": [{"interval": "month"}]}, False),
        (TRIED, 380, {"trial_end": NOW + 14 * DAY}, False),
        (TRIED, 381, {"trial_end": NOW + 14 * DAY}, True),
        (TRIED, 381, LAST | {"items": [{}]}, True),
        (TRIED, 107, LAST | {"items": [PERIOD | {"count": 3}]}, False),
        (TRIED, 80, LAST | {"items": [YEARLY]}, False),
        (TRIED, 381, LAST | {"items": [YEARLY]}, True),
        (TRIED, 46, LAST | {"items": [MONTHLY, YEARLY]}, False),
        (TRIED, 22, LAST | {"items": [WEEKLY | {"ends": 0}]}, True),
        (TRIED, 16, LAST | {"items": [{"interval": "day"}]}, True),
        # The current period says that there was one after the trial's.
        (TRIED, 20, LAST | {"ends": NOW + 44 * DAY}, True),
        (TRIED, 20, LAST | {"ends": NOW + 41 * DAY}, False),
        (TRIED, 14, LAST | {"ends": NOW + 44 * DAY}, False),
        (TRIED, 20, LAST | {"items": [YEARLY | {"ends": NOW + 379 * DAY}]}, True),
        (
            TRIED,
            20,
            LAST | {"items": [PERIOD | {"count": 3}], "ends": NOW + 50 * DAY},
            False,
        ),
    ],
)
def test_one_that_outlived_its_trial_was_live_though_nobody_said_so(
    words, days, last, expected
) -> None:
    assert expected == statuses(words, **last, ended_at=NOW + days * DAY).was_live


@pytest.mark.parametrize(("days", "expected"), [(46, True), (14, False), (None, False)])
def test_the_end_of_a_customer_ends_a_trial_that_was_outlived(days, expected) -> None:
    deleted_at = NOW + days * DAY if days else None

    one = told({"status": "trialing", **LAST}, deleted_at=deleted_at)

    assert expected == one.was_live


@pytest.mark.parametrize(
    ("words", "last", "days"),
    [
        ("active", {}, None),
        ("active canceled", {"ended_at": NOW - 5 * DAY}, -5),
        ("active canceled", {}, 1),
        ("active unpaid unpaid", {}, 1),
        ("active unpaid active", {}, None),
        ("unpaid canceled", {"ended_at": NOW + 7 * DAY}, 7),
    ],
)
def test_it_ended_when_stripe_says_so_or_with_the_spell_of_unpaid(
    words, last, days
) -> None:
    assert days == in_days(lambda one: one.ended_at, statuses(words, **last))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"status": "active"}, ("canceled", NOW + 9 * DAY)),
        ({"status": "unpaid"}, ("canceled", NOW + 9 * DAY)),
        ({"status": "canceled", "ended_at": NOW}, ("canceled", NOW)),
        ({"status": "incomplete_expired"}, ("incomplete_expired", NOW)),
    ],
)
def test_a_deleted_customer_ends_what_goes_on_and_nothing_else(value, expected) -> None:
    one = told(value, deleted_at=NOW + 9 * DAY)

    assert expected == (one.status, one.ended_at)


@pytest.mark.parametrize(
    ("words", "last", "days"),
    [
        ("trialing", {"trial_end": NOW + 14 * DAY}, 14),
        ("trialing canceled", {"trial_end": NOW + 14 * DAY, "ended_at": NOW + DAY}, 1),
        ("trialing canceled", {"trial_end": NOW + DAY, "ended_at": NOW + 3 * DAY}, 1),
        ("trialing unpaid", {"trial_end": NOW + 14 * DAY}, 14),
        ("active", {}, None),
    ],
)
def test_a_trial_that_was_cut_short_ended_with_its_subscription(
    words, last, days
) -> None:
    assert days == in_days(lambda one: one.trial_end, statuses(words, **last))


@pytest.mark.parametrize(
    ("party", "quantity", "expected"),
    [("stripe:1", {}, "1"), ("shop:1", {}, None), ("shop:1", {"quantity": 3}, "3")],
)
def test_only_where_one_is_the_default_an_item_without_a_quantity_is_one_seat(
    party: str, quantity: dict[str, int], expected: str | None
) -> None:
    one = sub(MONTHLY | quantity)._replace(party=party)
    some = sub(MONTHLY | quantity, MONTHLY)._replace(party="shop:1")

    with pytest.raises(UnknownError, match="its quantity is not in the event"):
        seats(some)
    if expected is None:
        with pytest.raises(UnknownError, match="its quantity is not in the event"):
            seats(one)
    else:
        assert expected == seats(one)
