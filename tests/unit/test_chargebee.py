"""Chargebee: what its events mean, in whatever order they come, and who may send them.

`CASES` are short; whole lives, as Chargebee tells them, are in `tests/cases`.
"""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from bridge.config import USED
from bridge.domain.account import Identity
from bridge.domain.fold import History, fold
from bridge.domain.traits import OPTIONAL
from bridge.errors import PayloadError, SignatureError
from bridge.sources.chargebee import SOURCE
from bridge.webhook.source import Delivery
from tests.support.chargebee import (
    Json,
    customer,
    event,
    headers,
    instant,
    item,
    seconds,
    subscription,
    told,
)
from tests.support.reader import Reader
from tests.support.recipe_cases import FOLDER, Book, Case, expected, looks

CREATED, CHANGED = "subscription_created", "subscription_changed"
CANCELLED = "subscription_cancelled"
ACTIVE = {"subscriptionStatus": "active", "churnedAt": None}
LIVE = told(CREATED, 0)
SECOND = told(CREATED, 1, id="sub_2", mrr=5000, current_term_end=seconds(20))
CATALOG_1 = {"subscription_items": None, "mrr": None, "addons": [{"amount": 300}]}


def cancelled(day: float, id_: str = "sub_1") -> Json:
    gone = {"status": "cancelled", "mrr": 0, "cancelled_at": seconds(day)}
    return told(CANCELLED, day, id=id_, **gone)


def trial(kind: str, day: float, end: float) -> Json:
    return told(kind, day, status="in_trial", mrr=0, trial_end=seconds(end))


def changed(at: float, *, version: float | None, mrr: int) -> Json:
    """A change that occurred *at* a day, of a resource of another *version*."""
    of = seconds(version) * 1000 if version is not None else None
    return event(CHANGED, at, subscription=subscription(mrr=mrr, resource_version=of))


CASES: list[tuple[str, list[Json], dict[str, Any]]] = [
    (
        "a live subscription has Chargebee's own MRR, and renews with its term",
        [LIVE],
        ACTIVE
        | {"mrr": 98, "nextRenewalDate": instant(30), "planName": "team-USD"}
        | {"billingCurrency": "USD", "cancelAt": None},
    ),
    (
        "a plan without its price is not nothing",
        [told(CREATED, 0, **CATALOG_1, plan_quantity=3)],
        {"mrr": "left out"},
    ),
    (
        "product catalog 1 has a plan and addons",
        [told(CREATED, 0, **CATALOG_1, plan_id="team", plan_amount=14700)],
        {"mrr": 150, "planName": "team"},
    ),
    (
        "half of an item's own rhythm is not the subscription's",
        [
            told(
                CREATED, 0, mrr=0, subscription_items=[item(amount=9, billing_period=3)]
            )
        ],
        {"mrr": "left out"},
    ),
    (
        "an addon alone is no plan",
        [told(CREATED, 0, mrr=0, subscription_items=[item(kind="addon", amount=3000)])],
        {"mrr": 30, "planName": None},
    ),
    (
        "a year counts a twelfth",
        [told(CREATED, 0, mrr=0, billing_period_unit="year")],
        {"mrr": 8.17},
    ),
    (
        "a quarter is three months",
        [told(CREATED, 0, mrr=None, billing_period=3)],
        {"mrr": 32.67},
    ),
    (
        "yen have no decimals",
        [told(CREATED, 0, mrr=5000, currency_code="JPY")],
        {"mrr": 5000, "billingCurrency": "JPY"},
    ),
    (
        "without a price or an MRR nothing is known, which is not nothing",
        [told(CREATED, 0, mrr=0, subscription_items=[])],
        {"mrr": "left out", "subscriptionStatus": "active"},
    ),
    (
        "a coupon's terms are not told, so an MRR is not counted from the items",
        [told(CREATED, 0, mrr=0, coupons=[{"coupon_id": "HALF"}])],
        {"mrr": "left out", "subscriptionStatus": "active"},
    ),
    (
        "an MRR that has just been counted is none where it is none",
        [LIVE, event("mrr_updated", 1, subscription=subscription(1, mrr=0))],
        {"mrr": 0, "subscriptionStatus": "active"},
    ),
    (
        "an MRR that is counted later wins over the event of the same version",
        [
            told(CREATED, 0, mrr=0),
            event("mrr_updated", 0, subscription=subscription(mrr=70)),
        ],
        {"mrr": 0.7},
    ),
    (
        "of two events with one version the one that occurred later wins",
        [changed(2, version=1, mrr=1000), changed(3, version=1, mrr=2000)],
        {"mrr": 20},
    ),
    (
        "an older version loses, though it occurs later",
        [changed(3, version=1, mrr=1000), changed(2, version=2, mrr=2000)],
        {"mrr": 20},
    ),
    (
        "without a version the event's own time counts",
        [changed(1, version=None, mrr=10), changed(2, version=None, mrr=90)],
        {"mrr": 0.9},
    ),
    (
        "a trial that is extended ends later, pays nothing yet and is no churn",
        [trial(CREATED, 0, 14), trial("subscription_trial_extended", 9, 28)],
        {"subscriptionStatus": "trialing", "trialEndDate": instant(28)}
        | dict.fromkeys(("mrr", "churnedAt", "nextRenewalDate")),
    ),
    (
        "what will not renew ends with its term where no day is told",
        [told(CHANGED, 5, status="non_renewing")],
        {"cancelAt": instant(30), "nextRenewalDate": None, "churnedAt": None},
    ),
    (
        "one of two cancelled is no churn",
        [LIVE, SECOND, cancelled(9)],
        ACTIVE | {"mrr": 50, "nextRenewalDate": instant(20)},
    ),
    (
        "both cancelled are churn with the last",
        [cancelled(9), cancelled(12, "sub_2")],
        {"mrr": None, "churnedAt": instant(12)},
    ),
    (
        "what begins in the future is neither live nor churn",
        [cancelled(2), told(CREATED, 3, id="sub_2", status="future", mrr=0)],
        {"mrr": None, "churnedAt": None, "subscriptionStatus": "incomplete"},
    ),
    (
        "a deleted subscription never comes back",
        [LIVE, told(CHANGED, 20), told("subscription_deleted", 10)],
        {"mrr": None, "churnedAt": instant(10), "subscriptionStatus": "churned"},
    ),
    (
        "a deleted customer takes all with it",
        [LIVE, event("customer_deleted", 9, customer=customer(9, deleted=True))],
        {"mrr": None, "churnedAt": instant(9), "subscriptionStatus": "churned"},
    ),
    (
        "two currencies are never added",
        [LIVE, told(CREATED, 0, id="sub_2", currency_code="EUR", mrr=5000)],
        {"mrr": "left out", "billingCurrency": "left out"},
    ),
]


@pytest.mark.parametrize(
    ("events", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_case_has_its_traits_in_whatever_order_it_is_delivered(
    events: list[Json], wanted: dict[str, Any]
) -> None:
    names, doc = Reader(SOURCE).outcome(*events)

    assert wanted == {trait: doc.traits.get(trait, "left out") for trait in wanted}
    assert {Identity("cb_1")} == names


TABLE = FOLDER.parent / "chargebee.toml"
BOOK = Book("chargebee", tomllib.loads(TABLE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("rising", [True, False], ids=["rising", "falling"])
@pytest.mark.parametrize("case", BOOK.cases, ids=lambda case: str(case["name"]))
def test_a_life_has_its_traits_whichever_way_its_ids_go(
    case: Case, rising: bool
) -> None:
    """Of the table in `tests/cases`; how one is written is said there."""
    (look,) = looks(case)
    bodies = [one.body for one in BOOK.told(case, rising=rising)]
    on: Any = {USED: frozenset(OPTIONAL.keys() & look.traits.keys())}
    now = seconds(look.now) * 1000 if on[USED] else 0
    names, doc = Reader(SOURCE, **on).outcome(*bodies, now=now)

    found = {trait: doc.traits.get(trait, "left out") for trait in look.traits}
    assert expected(look) == found
    assert {Identity(BOOK.said["account"])} == names


def test_each_case_has_a_name_of_its_own() -> None:
    names = [case["name"] for case in BOOK.cases] + [name for name, *_ in CASES]

    assert len(set(names)) == len(names)


# --- Whose it is, and what it is called --------------------------------------------


@pytest.mark.parametrize(
    ("place", "own", "account"),
    [
        ("cf_vitally_id", {"cf_vitally_id": " acme "}, "acme"),
        ("cf_number", {"cf_number": 42}, "42"),
        ("meta_data.vitally", {"meta_data": {"vitally": "acme"}}, "acme"),
        ("meta_data.vitally", {"meta_data": "none"}, None),
        ("cf_vitally_id", {"cf_vitally_id": "x" * 256}, None),
        ("cf_vitally_id", {}, None),
    ],
)
@pytest.mark.parametrize("make", [customer, subscription])
def test_a_custom_field_of_either_names_the_account(
    make: Any, place: str, own: Json, account: str | None
) -> None:
    kind = make.__name__
    body = event(f"{kind}_changed", 0, **{kind: make(**own)})
    names, _ = Reader(SOURCE, {"account": place}).outcome(body)

    assert {account} == {name.account for name in names}


def test_the_customer_s_own_word_wins_over_the_subscription_s() -> None:
    both = {
        "subscription": subscription(cf_id="of-the-subscription"),
        "customer": customer(cf_id="of-the-customer"),
    }
    reader = Reader(SOURCE, {"account": "cf_id"})
    names, _ = reader.outcome(event(CHANGED, 0, **both))

    assert {Identity("of-the-customer")} == names


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ({}, "Blue Door"),
        ({"company": None, "first_name": "Ada", "last_name": "Roe"}, "Ada Roe"),
        ({"company": " ", "last_name": "Roe"}, "Roe"),
        ({"company": None}, "ada@shop.example"),
        ({"company": "x" * 3000}, "x" * 254 + "…"),
        ({"company": "Blue\x00\nDoor\uffff"}, "Blue Door\ufffd"),
        ({"company": {"en": "Blue Door"}, "first_name": 7}, "ada@shop.example"),
    ],
)
def test_a_company_is_called_by_its_name_else_its_person_s_or_e_mail(
    own: Json, name: str
) -> None:
    body = event("customer_changed", 0, customer=customer(**own))
    _, doc = Reader(SOURCE).outcome(body)

    assert name == doc.name.text


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (event("customer_created", 0, customer=customer()), True),
        (told(CHANGED, 1), False),
    ],
)
def test_a_customer_whose_creation_was_seen_has_a_whole_history(
    body: Json, seen: bool
) -> None:
    things = fold(History(Reader(SOURCE).facts(body)))

    assert seen == things["customer"].creation_seen


def test_another_customer_of_the_event_is_not_the_subscription_s() -> None:
    """Of a hierarchy the payer is told beside the subscription of another."""
    body = event(CHANGED, 0, subscription=subscription(), customer=customer(id="payer"))

    assert {"chargebee:cb_1"} == {fact.party for fact in Reader(SOURCE).facts(body)}


# --- Who may send, and what is no event ----------------------------------------------


@pytest.mark.parametrize("pair", [("only-a-user", ""), ("", "only-a-password")])
def test_either_alone_is_enough_to_be_switched_on(pair: tuple[str, str]) -> None:
    names = ("CHARGEBEE_WEBHOOK_USERNAME", "CHARGEBEE_WEBHOOK_PASSWORD")
    options = {name: word or None for name, word in zip(names, pair, strict=True)}
    right = Delivery("POST", "/webhooks/chargebee", headers(*pair), b"{}")

    assert SOURCE.enabled(options)
    assert SOURCE.verify(right, options, 0)
    with pytest.raises(SignatureError):
        SOURCE.verify(right._replace(headers=headers("", "")), options, 0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not valid JSON"),
        (b"[" * 5000, "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no id"),
        (b'{"id": "ev_1"}', "no event_type"),
        (b'{"id": "ev_1", "event_type": "x", "occurred_at": true}', "no occurred_at"),
        (b'{"id": "ev_1", "event_type": "x", "occurred_at": -1}', "no occurred_at"),
    ],
)
def test_what_is_no_event_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        Reader(SOURCE).events(body)
