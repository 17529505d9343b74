"""One subscription: whether it is live, what it pays a month, when it renews and ends."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.money import Unknown
from bridge.domain.policy import STRIPE
from bridge.domain.subscription import (
    Subscription,
    Working,
    cancels_at,
    changes_at,
    plan_names,
    read,
    renews_at,
    revenue,
    worked,
)

NOW = 1_700_000_000_000
DAY = 86_400_000

MONTHLY = {"unit": "5000", "interval": "month", "ends": NOW + 30 * DAY, "product": "p"}
YEARLY = {"unit": "120000", "interval": "year", "ends": NOW + 300 * DAY, "product": "q"}
METERED = {"unit": "7", "interval": "month", "usage": "metered", "ends": NOW + 5 * DAY}
WEEKLY = METERED | {"interval": "week"}
SETUP = {"unit": "9900", "one_time": True}


def told(
    *values: dict[str, Any], deleted_at: int | None = None, **more
) -> Subscription:
    """The subscription of which *values* were told, a day apart."""
    facts = []
    for n, value in enumerate(values):
        final = value.get("status") in {"canceled", "incomplete_expired"}
        stamp = Stamp(final, NOW + n * DAY, 2)
        facts.append(
            Fact("x:1", "subscription:s", stamp, f"evt_{n}", "k", value, str(n))
        )
    return read("s", fold(History(facts))["subscription:s"], deleted_at, **more)


def sub(*items: dict[str, Any], **value: Any) -> Subscription:
    """An active subscription in dollars."""
    own = {"status": "active", "currency": "usd", "items": list(items)}
    return told(own | value)


def statuses(*words: str, **last: Any) -> Subscription:
    values: list[dict[str, Any]] = [{"status": word} for word in words]
    values[-1] |= last
    return told(*values)


# --- What it pays -------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([MONTHLY], 5000),
        ([MONTHLY | {"quantity": 3}], 15_000),
        ([YEARLY], 10_000),
        ([MONTHLY, YEARLY], 15_000),
        ([MONTHLY, METERED], 5000),
        ([MONTHLY, SETUP], 5000),
        ([METERED], 0),
        ([{"usage": "metered"}], 0),
        ([MONTHLY | {"count": 3, "unit": "30000", "quantity": 2}], 20_000),
    ],
)
def test_licensed_recurring_items_are_summed_by_the_month(items, expected) -> None:
    assert expected == revenue(sub(*items))


def test_an_amount_that_the_source_says_itself_is_believed() -> None:
    said = sub(MONTHLY, mrr="1234.5", more=True, discounts=[{"id": "di_1"}])

    assert Fraction("1234.5") == revenue(said)


def test_each_line_is_called_as_people_know_it() -> None:
    told_by = [
        {"name": "Pro", "product_name": "Product", "price": "price_1", "quantity": 3},
        {"product_name": "Product", "price": "price_1"},
        {"price": "price_1"},
        {},
    ]
    found = worked(sub(*(MONTHLY | said for said in told_by)))

    assert isinstance(found, Working)
    assert [("Pro", 3), ("Product", 1), ("price_1", 1), ("", 1)] == [
        (line.price, line.quantity) for line in found.lines
    ]


def test_revenue_is_exact_and_no_float() -> None:
    found = revenue(sub(MONTHLY | {"interval": "week", "unit": "1000"}))

    assert Fraction(1000 * 52, 12) == found
    assert isinstance(found, Fraction)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"items": [{"interval": "month"}]}, "unit amount"),
        ({"items": [{"unit": "1"}]}, "s: an item: its interval"),
        ({"items": [{"unit": "1", "price": "price_1"}]}, "s: price_1: its interval"),
        ({"items": [MONTHLY], "more": True}, "part of its items"),
        ({"items": []}, "part of its items"),
        ({}, "part of its items"),
        ({"items": [MONTHLY | {"interval": "quarter"}]}, "its interval"),
        ({"items": [MONTHLY | {"tax": ["10", None]}]}, "rate of its tax"),
        ({"items": [MONTHLY], "tax": [None]}, "rate of its tax"),
        ({"items": [MONTHLY | {"package": {"by": 5}}]}, "packages"),
        ({"items": [MONTHLY | {"unit": "-1"}]}, "less than nothing"),
        ({"items": [MONTHLY, MONTHLY | {"unit": "-5001"}]}, "less than nothing"),
        ({"mrr": "-0.5"}, "less than nothing"),
        ({"items": [MONTHLY], "currency": None}, "currency"),
        ({"items": [MONTHLY], "discounts": [{"id": "di_1"}]}, "di_1"),
        ({"items": [MONTHLY | {"discounts": [{"id": "di_2"}]}]}, "di_2"),
        ({"items": [MONTHLY | {"inclusive": True}], "automatic_tax": True}, "tax"),
        ({"items": [{"scheme": "tiered", "interval": "month"}]}, "tiers"),
    ],
)
def test_what_is_not_told_makes_the_revenue_unknown_with_a_reason(
    value, reason
) -> None:
    found = revenue(told({"status": "active", "currency": "usd"} | value))

    assert isinstance(found, Unknown)
    assert reason in found.reason
    assert found.reason.startswith("s: ")


HALF = {"coupon": "half", "percent": "50", "duration": "forever"}
TEN_OFF = {"coupon": "t", "amount": "1000", "currency": "usd", "duration": "forever"}
ONCE = {"coupon": "once", "percent": "50", "duration": "once"}


def test_an_item_s_discount_comes_before_the_subscription_s() -> None:
    item = MONTHLY | {"unit": "10000", "discounts": [{**HALF, "percent": "20"}]}

    assert 7000 == revenue(sub(item, discounts=[TEN_OFF]))


def test_an_amount_off_an_item_is_in_the_subscription_s_currency() -> None:
    assert 4000 == revenue(sub(MONTHLY | {"discounts": [TEN_OFF]}))


def test_the_first_end_of_a_discount_is_when_the_amount_changes() -> None:
    active = STRIPE._replace(discounts="active")
    early, late = HALF | {"ends": NOW + DAY}, HALF | {"ends": NOW + 9 * DAY}
    own = sub(MONTHLY | {"discounts": [early]}, discounts=[late, HALF])

    assert NOW + DAY == changes_at(own, active, NOW)
    assert NOW + 9 * DAY == changes_at(own, active, NOW + DAY)
    assert changes_at(own, active, NOW + 9 * DAY) is None
    assert changes_at(own, STRIPE, NOW) is None
    assert changes_at(sub(MONTHLY, discounts=[HALF]), active, 0) is None


def test_an_item_s_discount_leaves_the_other_items_alone() -> None:
    assert 12_500 == revenue(sub(MONTHLY | {"discounts": [HALF]}, YEARLY))


def test_a_customer_s_discount_counts_where_the_subscription_has_none() -> None:
    value = {"status": "active", "currency": "usd", "items": [MONTHLY]}

    alone = told(value, customer_discounts=[HALF])
    own = told(value | {"discounts": [ONCE]}, customer_discounts=[HALF])

    assert 2500 == revenue(alone)
    assert 5000 == revenue(own)


@pytest.mark.parametrize(
    ("item", "value", "expected"),
    [
        ({"tax": ["20"]}, {}, 5000),
        ({}, {"tax": ["20"]}, 5000),
        ({"tax": ["20"]}, {"tax": ["50"]}, 5000),
        ({"inclusive": True}, {}, 6000),
        ({"inclusive": True, "tax": ["20"]}, {"automatic_tax": True}, 5000),
        ({}, {"automatic_tax": True}, 6000),
    ],
)
def test_inclusive_tax_is_taken_out_where_its_rate_is_told(
    item, value, expected
) -> None:
    assert expected == revenue(sub(MONTHLY | {"unit": "6000"} | item, **value))


# --- Renewal and scheduled end ------------------------------------------------


@pytest.mark.parametrize(
    ("items", "value", "days"),
    [
        ([MONTHLY], {}, 30),
        ([MONTHLY, YEARLY], {}, 30),
        ([YEARLY, METERED], {}, 300),
        ([METERED], {}, None),
        ([MONTHLY], {"cancel_at_period_end": True}, None),
        ([MONTHLY], {"cancel_at": NOW + 400 * DAY}, 30),
        ([MONTHLY], {"cancel_at": NOW + 30 * DAY}, None),
        ([MONTHLY], {"cancel_at": NOW + 10 * DAY}, None),
        ([MONTHLY, YEARLY], {"cancel_at": NOW + 100 * DAY}, 30),
        ([{"unit": "1", "interval": "month"}], {"ends": NOW + 9 * DAY}, 9),
        ([], {"mrr": "5000", "ends": NOW + 9 * DAY}, 9),
        ([MONTHLY, {"interval": "year"}, WEEKLY], {"ends": NOW + 5 * DAY}, 30),
    ],
)
def test_it_renews_with_the_first_licensed_item_that_does(items, value, days) -> None:
    expected = None if days is None else NOW + days * DAY

    assert expected == renews_at(sub(*items, **value))


@pytest.mark.parametrize(
    ("items", "value"),
    [
        ([{"unit": "1", "interval": "month"}], {}),
        ([MONTHLY], {"more": True}),
        (
            [{"interval": "year"}, {"interval": "month", "usage": "metered"}],
            {"ends": NOW},
        ),
    ],
    ids=["no period", "a part of the items", "one period for different intervals"],
)
def test_an_end_of_a_period_that_is_not_told_is_unknown(items, value) -> None:
    """Of several intervals the subscription's own period is the shortest one's."""
    assert isinstance(renews_at(sub(*items, **value)), Unknown)


@pytest.mark.parametrize(
    ("items", "value", "days"),
    [
        ([MONTHLY], {}, None),
        ([MONTHLY], {"cancel_at_period_end": True}, 30),
        ([MONTHLY, YEARLY], {"cancel_at_period_end": True}, 30),
        ([YEARLY, METERED], {"cancel_at_period_end": True}, 5),
        ([], {"cancel_at_period_end": True, "ends": NOW + 3 * DAY}, 3),
        ([MONTHLY], {"cancel_at": NOW + 400 * DAY}, 400),
        ([MONTHLY], {"cancel_at": NOW + DAY, "cancel_at_period_end": True}, 1),
    ],
)
def test_a_scheduled_end_is_told_or_the_first_item_s(items, value, days) -> None:
    expected = None if days is None else NOW + days * DAY

    assert expected == cancels_at(sub(*items, **value))


@pytest.mark.parametrize(
    "value", [{"items": [{"unit": "1"}]}, {"items": [MONTHLY], "more": True}]
)
def test_a_scheduled_end_whose_time_is_not_told_is_unknown(value) -> None:
    """None would say that it does not end."""
    found = told({"status": "active", "cancel_at_period_end": True} | value)

    assert isinstance(cancels_at(found), Unknown)


# --- Names --------------------------------------------------------------------


def test_a_plan_is_called_by_its_nickname_else_its_product_else_its_key() -> None:
    every = {"name": "Pro", "product_name": "Product", "lookup": "key"}
    second = {"product_name": "Product", "lookup": "key"}
    third = {"lookup": "key"}

    found = plan_names(
        sub(every, second, third, {}, METERED | {"name": "Usage"}, SETUP)
    )

    assert {"Pro", "Product", "key"} == found
    assert {"Pro", "Said"} == plan_names(sub({"name": "Pro"}, plan="Said"))


# --- Life and death -----------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "live"),
    [
        ("active", True),
        ("past_due", True),
        ("trialing", False),
        ("incomplete", False),
        ("incomplete_expired", False),
        ("unpaid", False),
        ("paused", False),
        ("canceled", False),
    ],
)
def test_only_active_and_past_due_are_live(word, live) -> None:
    assert live == statuses(word).is_live


@pytest.mark.parametrize(
    ("words", "last", "expected"),
    [
        (["active"], {}, True),
        (["past_due"], {}, True),
        (["unpaid"], {}, True),
        (["trialing"], {}, False),
        (["paused"], {}, False),
        (["incomplete"], {}, False),
        (["incomplete", "incomplete_expired"], {}, False),
        (["incomplete_expired"], {}, False),
        (["incomplete", "canceled"], {}, False),
        (["trialing", "canceled"], {}, False),
        (["trialing", "active", "canceled"], {}, True),
        (["active", "paused", "canceled"], {}, True),
        (["canceled"], {}, True),
        (["canceled"], {"ended_at": NOW, "trial_end": NOW + DAY}, False),
        (["canceled"], {"ended_at": NOW, "trial_end": NOW}, False),
        (["canceled"], {"ended_at": NOW, "trial_end": NOW - DAY}, True),
    ],
)
def test_it_was_live_if_it_ever_paid_or_should_have(words, last, expected) -> None:
    assert expected == statuses(*words, **last).was_live


LAST = {"trial_end": NOW + 14 * DAY, "items": [{"interval": "month"}]}


@pytest.mark.parametrize(
    ("words", "days", "last", "expected"),
    [
        (["trialing", "canceled"], 14, LAST, False),
        (["trialing", "canceled"], 15, LAST, False),
        (["trialing", "canceled"], 45, LAST, False),
        (["trialing", "canceled"], 46, LAST, True),
        (["trialing", "paused", "canceled"], 380, LAST, False),
        (["trialing", "incomplete", "canceled"], 380, LAST, False),
        (["trialing", "canceled"], 380, {"items": [{"interval": "month"}]}, False),
        (["trialing", "canceled"], 380, {"trial_end": NOW + 14 * DAY}, False),
        (["trialing", "canceled"], 381, {"trial_end": NOW + 14 * DAY}, True),
        (["trialing", "canceled"], 80, LAST | {"items": [YEARLY]}, False),
        (["trialing", "canceled"], 381, LAST | {"items": [YEARLY]}, True),
        (["trialing", "canceled"], 46, LAST | {"items": [MONTHLY, YEARLY]}, False),
        (["trialing", "canceled"], 22, LAST | {"items": [WEEKLY | {"ends": 0}]}, True),
        # The current period says that there was one after the trial's.
        (["trialing", "canceled"], 20, LAST | {"ends": NOW + 44 * DAY}, True),
        (["trialing", "canceled"], 20, LAST | {"ends": NOW + 41 * DAY}, False),
        (["trialing", "canceled"], 14, LAST | {"ends": NOW + 44 * DAY}, False),
        (
            ["trialing", "canceled"],
            20,
            LAST | {"items": [{"interval": "year", "ends": NOW + 379 * DAY}]},
            True,
        ),
        (
            ["trialing", "canceled"],
            20,
            LAST | {"items": [{"interval": "month", "count": 3}], "ends": NOW + DAY},
            False,
        ),
    ],
)
def test_one_that_outlived_its_trial_was_live_though_nobody_said_so(
    words, days, last, expected
) -> None:
    found = statuses(*words, **{**last, "ended_at": NOW + days * DAY})

    assert expected == found.was_live


def test_the_end_of_a_customer_ends_a_trial_that_was_outlived() -> None:
    trial = {"status": "trialing", **LAST}

    assert told(trial, deleted_at=NOW + 46 * DAY).was_live
    assert not told(trial, deleted_at=NOW + 14 * DAY).was_live
    assert not told(trial).was_live


@pytest.mark.parametrize(
    ("words", "last", "days"),
    [
        (["active"], {}, None),
        (["trialing"], {}, None),
        (["active", "canceled"], {"ended_at": NOW - 5 * DAY}, -5),
        (["active", "canceled"], {}, 1),
        (["active", "unpaid"], {}, 1),
        (["active", "unpaid", "unpaid"], {}, 1),
        (["active", "unpaid", "active"], {}, None),
        (["unpaid", "canceled"], {"ended_at": NOW + 7 * DAY}, 7),
        (["incomplete", "incomplete_expired"], {"ended_at": NOW + DAY}, 1),
    ],
)
def test_it_ended_when_stripe_says_so_or_with_the_spell_of_unpaid(
    words, last, days
) -> None:
    expected = None if days is None else NOW + days * DAY

    assert expected == statuses(*words, **last).ended_at


@pytest.mark.parametrize("word", ["active", "past_due", "trialing", "paused", "unpaid"])
def test_a_deleted_customer_ends_what_goes_on(word) -> None:
    found = told({"status": word}, deleted_at=NOW + 9 * DAY)

    assert ("canceled", NOW + 9 * DAY) == (found.status, found.ended_at)


def test_a_deleted_customer_does_not_move_an_end_that_was_told() -> None:
    ended = {"status": "canceled", "ended_at": NOW}

    assert NOW == told(ended, deleted_at=NOW + 9 * DAY).ended_at


@pytest.mark.parametrize(
    ("value", "deleted_at", "days"),
    [
        ({"status": "trialing"}, None, None),
        ({"status": "trialing", "trial_end": NOW + 14 * DAY}, None, 14),
        ({"status": "active", "trial_end": NOW - 14 * DAY}, None, -14),
        ({"status": "unpaid", "trial_end": NOW + 14 * DAY}, None, 14),
        ({"status": "canceled", "trial_end": NOW + 14 * DAY, "ended_at": NOW}, None, 0),
        ({"status": "canceled", "trial_end": NOW - DAY, "ended_at": NOW}, None, -1),
        ({"status": "trialing", "trial_end": NOW + 14 * DAY}, NOW + DAY, 1),
    ],
)
def test_a_trial_that_is_cut_short_ends_with_the_subscription(
    value, deleted_at, days
) -> None:
    expected = None if days is None else NOW + days * DAY

    assert expected == told(value, deleted_at=deleted_at).trial_end


def test_a_trial_is_remembered() -> None:
    assert told(
        {"status": "trialing", "trial_end": NOW}, {"status": "active"}
    ).had_trial
    assert not statuses("active").had_trial
