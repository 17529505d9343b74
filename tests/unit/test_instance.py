"""A subscription as an instance of a custom object: by the same rules as an account's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from bridge.domain.account import Party, unite
from bridge.domain.document import TRAITS, document
from bridge.domain.facts import Fact
from bridge.domain.fold import History, fold
from bridge.domain.instance import Instance, digest_of, instances
from bridge.domain.money import STRIPE
from tests.support.desk import NOON, customer, subscription
from tests.support.lives import Story, account_of, by_party, law, stories

OBJECT = "obj-1"
LINKS = {"stripe": "https://stripe.example/{}"}
BASE = {
    "subscriptionStatus": "active",
    "mrr": 450,
    "planName": "Pro",
    "billingCurrency": "USD",
    "billingInterval": "month",
    "seats": 1,
    "nextRenewalDate": "2026-01-31T00:00:00.000Z",
    "cancelAt": None,
    "churnedAt": None,
    "discount": None,
    "link": "https://stripe.example/sub_1",
}
HALF = {"coupon": "half", "percent": "50", "duration": "forever", "products": []}
SILENT = {"churnedAt", "subscriptionStatus", "billingCurrency", "link"}
NOTHING_LIVE = dict.fromkeys(BASE.keys() - SILENT)
TRIALING = {"subscriptionStatus": "trialing"}
VOID = {"status": "void", "items": None, "currency": None}


def made(
    *facts: Fact, links: dict[str, str] = LINKS, object_id: str = OBJECT
) -> dict[str, Instance]:
    """The instances of an account with one party."""
    parties = [
        Party(name, fold(History([fact for fact in facts if fact.party == name])))
        for name in sorted({fact.party for fact in facts})
    ]
    return instances(unite("acme", parties, NOON), object_id, STRIPE, NOON, links)


@pytest.mark.parametrize(
    ("facts", "changed"),
    [
        ([subscription()], {}),
        (
            [subscription(at=9, status="canceled")],
            NOTHING_LIVE
            | {
                "subscriptionStatus": "churned",
                "churnedAt": "2026-01-01T00:00:09.000Z",
                "billingCurrency": ...,  # it stays as it was
            },
        ),
        ([subscription(discounts=[HALF])], {"mrr": 225, "discount": 225}),
        ([subscription(status="trialing")], NOTHING_LIVE | TRIALING),
        (
            [subscription(currency="jpy", unit=500)],
            {"mrr": 500, "billingCurrency": "JPY"},
        ),
        ([subscription(unit="0")], {"mrr": 0}),
    ],
)
def test_an_instance_has_the_traits_of_an_account_with_it_alone(
    facts: list[Any], changed: dict[str, Any]
) -> None:
    (one,) = made(customer(), *facts).values()

    wanted = {k: v for k, v in (BASE | changed).items() if v is not ...}
    assert wanted == one.told["traits"]


def test_what_is_not_known_is_left_out() -> None:
    first = subscription(items=[{"price": "p", "interval": "month"}])
    (one,) = made(customer(), first, links={}).values()

    unknown = {"mrr", "discount", "nextRenewalDate", "link"}
    assert BASE.keys() - unknown == one.told["traits"].keys()
    assert ("sub_1", "acme") == (one.told["name"], one.told["accountId"])


def test_what_one_instant_leaves_open_is_left_out() -> None:
    first, second = (subscription(at=1, unit=unit) for unit in (100, 200))
    (one,) = made(customer(), first, second).values()

    assert BASE.keys() - {"mrr"} == one.told["traits"].keys()


def test_a_connected_account_has_no_link() -> None:
    (one,) = made(customer("acct_1/cus_1"), subscription("acct_1/cus_1")).values()

    assert "link" not in one.told["traits"]


@pytest.mark.parametrize("order", [1, -1])
def test_what_went_from_one_party_of_the_account_to_another_is_one_instance(
    order: int,
) -> None:
    old, new = ["cus_1", "cus_2"][::order]
    gone = subscription(old, at=9, **VOID)
    facts = (subscription(old), gone, subscription(new, at=9))
    (one,) = made(customer(old), customer(new), *facts).values()

    assert ("active", False) == (one.told["traits"]["subscriptionStatus"], one.is_over)


@law(100)
@given(stories())
def test_an_account_with_one_subscription_has_the_traits_of_its_instance(
    story: Story,
) -> None:
    histories = {party: History(own) for party, own in by_party(story.facts).items()}
    account = account_of(histories)
    for sub in account.subscriptions:
        alone = account._replace(subscriptions=(sub,), told={})
        doc = document(alone, STRIPE, NOON)
        (one,) = instances(alone, OBJECT, STRIPE, NOON, {}).values()

        assert doc.traits == {
            t: v for t, v in one.told["traits"].items() if t in TRAITS
        }


SHOWN = {"traits": {"mrr": 450, "cancelAt": None, "more": 1}, "customer": None}


@pytest.mark.parametrize(
    ("row", "is_over", "is_shown"),
    [
        (SHOWN, False, True),
        ({"traits": {"mrr": 450.0}}, False, True),
        ({"traits": {"mrr": 450}, "customer": {"externalId": "acme"}}, False, True),
        ({"traits": {"mrr": 450}, "customer": {"externalId": "birch"}}, False, False),
        ({"traits": {"mrr": 450}, "customer": {"externalId": "birch"}}, True, True),
        ({"traits": {"mrr": 1}}, True, False),
        ({"traits": {"mrr": 450, "cancelAt": "2026-01-01T00:00:00Z"}}, False, False),
        ({"traits": None}, False, False),
        ({"traits": [], "customer": "acme"}, False, False),
        ({"traits": {"mrr": 450}, "customer": "acme"}, False, True),
        ({"traits": {"mrr": 450}, "customer": {}}, False, False),
        (None, False, False),
        (None, True, True),
    ],
)
def test_it_is_shown_where_all_that_was_sent_is_there(
    row: Any, is_over: bool, is_shown: bool
) -> None:
    told = {"accountId": "acme", "traits": {"mrr": 450, "cancelAt": None}}

    assert is_shown == Instance(told, is_over).is_shown(row)


def test_a_digest_changes_with_all_that_is_sent() -> None:
    base = made(customer(), subscription())
    others = [
        made(customer(), subscription(unit=1)),
        made(customer(), subscription(), links={}),
        {**base, "stripe:sub_2": base["stripe:sub_1"]},
        made(customer(), subscription(), object_id="another"),
        {},
    ]

    assert 6 == len({digest_of(one) for one in (base, *others)})
    assert "" == digest_of({})
