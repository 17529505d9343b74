"""The life of one customer, delivered in any order and any number of times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.stack import Stack
from tests.support.stripe import ON_ITEMS, ON_SUBSCRIPTION, YEARLY, Shop, iso


class Life(NamedTuple):
    """Events in their true order, and what is known of the account in the end."""

    events: Sequence[dict[str, Any]]
    name: str
    traits: dict[str, Any]


def stays(shop: Shop) -> Life:
    """Trial, conversion, two subscriptions, a change of mind within one second."""
    told = [
        shop.signs_up("First Name"),
        shop.begins(seconds=0, status="trialing", trial_end=1_791_000_000),
        shop.changes(status="active", ends=1_794_000_000),
        shop.begins("2", YEARLY, ends=1_821_000_000),
        shop.changes(cancel_at_period_end=True),
        shop.changes(cancel_at_period_end=False, seconds=0),
        shop.changes(quantity=4, seconds=0),
        shop.is_changed(name="Second Name"),
    ]
    traits = {
        "mrr": 246,  # 4 x 49.00 + 600.00 / 12
        "nextRenewalDate": iso(1_794_000_000),
        "churnedAt": None,
        "trialEndDate": iso(1_791_000_000),
        "subscriptionStatus": "active",
        "planName": "Pro, Yearly",
        "billingCurrency": "USD",
        "cancelAt": None,
    }
    return Life(told, "Second Name", traits)


def leaves(shop: Shop) -> Life:
    """A failed payment, an end, a return, and another end in one second with a change."""
    told = [
        shop.signs_up("Some Name"),
        shop.begins(seconds=0, status="incomplete"),
        shop.changes(seconds=0, status="active"),
        shop.changes(status="past_due"),
        shop.ends(),
        shop.begins("2", YEARLY),
        shop.changes("2", cancel_at_period_end=True),
        shop.ends("2", seconds=0),
    ]
    traits = {
        "mrr": None,
        "nextRenewalDate": None,
        "churnedAt": iso(shop.last),
        "trialEndDate": None,
        "subscriptionStatus": "churned",
        "planName": None,
        "cancelAt": None,
    }
    return Life(told, "Some Name", traits)


@st.composite
def orders(draw: st.DrawFn) -> list[int]:
    """Places in the life: each one at least once, in any order."""
    again = draw(st.lists(st.integers(0, 7), max_size=8))
    return draw(st.permutations([*range(8), *again]))


played = st.tuples(
    st.sampled_from([stays, leaves]),
    st.sampled_from([ON_ITEMS, ON_SUBSCRIPTION]),
    orders(),
)


# No shrinking: each try plays lives in real time.
@settings(max_examples=6, deadline=None, phases=[Phase.reuse, Phase.generate])
@given(st.lists(played, min_size=4, max_size=8))
def test_any_order_and_repetition_ends_in_the_same_account(
    shared: Stack, lives: list[tuple[Callable[[Shop], Life], str, list[int]]]
) -> None:
    stripe = shared.stripe()
    ends: list[tuple[str, Life]] = []
    for life, version, order in lives:
        shop = Shop(version)
        ends.append((shop.id, life(shop)))
        for place in order:
            assert 202 == stripe.post(ends[-1][1].events[place]).status
    shared.settled()

    for id_, end in ends:
        assert shared.has(id_, **end.traits)()
        assert end.name == shared.account(id_)["name"]
        assert 1 == shared.creations().count(id_)
    assert [] == shared.overlaps()
