"""Chargebee: what its events mean, in whatever order they come, and who may send them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge.domain.account import Identity, Party, identify, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact
from bridge.domain.fold import History, compact, fold
from bridge.errors import PayloadError, SignatureError
from bridge.sources.chargebee import SOURCE
from bridge.webhook.source import Delivery, Event, Verified
from tests.support.chargebee import (
    PASSWORD,
    USERNAME,
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
from tests.support.lives import by_party

OPTIONS = {
    "CHARGEBEE_WEBHOOK_USERNAME": USERNAME,
    "CHARGEBEE_WEBHOOK_PASSWORD": PASSWORD,
}

CREATED, CHANGED = "subscription_created", "subscription_changed"
CANCELLED, REACTIVATED = "subscription_cancelled", "subscription_reactivated"
TRIAL = {"status": "in_trial", "mrr": 0, "trial_end": seconds(14)}
GONE = {"status": "cancelled", "mrr": 0}
ADDON = item("seats", "addon", quantity=3, unit_price=1000)
CATALOG_1 = {
    "subscription_items": None,
    "mrr": None,
    "plan_id": "team",
    "plan_quantity": 3,
    "plan_unit_price": 4900,
}

CASES: list[tuple[str, list[Json], dict[str, Any]]] = [
    (
        "a live subscription has Chargebee's own MRR, and renews with its term",
        [told(CREATED, 0)],
        {
            "mrr": 98,
            "nextRenewalDate": instant(30),
            "churnedAt": None,
            "subscriptionStatus": "active",
            "planName": "team-USD",
            "billingCurrency": "USD",
            "cancelAt": None,
        },
    ),
    (
        "a plan without its id is not nothing",
        [
            told(
                CREATED,
                0,
                addons=[{"id": "x", "amount": 300}],
                **(CATALOG_1 | {"plan_id": None, "plan_unit_price": None}),
            )
        ],
        {"mrr": "left out"},
    ),
    (
        "half of an item's own rhythm is not the subscription's",
        [
            told(
                CREATED,
                0,
                mrr=None,
                subscription_items=[ADDON | {"billing_period": 3}],
            )
        ],
        {"mrr": "left out"},
    ),
    (
        "an MRR that is not counted yet is counted from the items",
        [told(CREATED, 0, mrr=0)],
        {"mrr": 98},
    ),
    (
        "a quantity counts where no total is told",
        [told(CREATED, 0, mrr=None, subscription_items=[ADDON])],
        {"mrr": 30, "planName": None},
    ),
    (
        "an addon counts, a charge and usage do not",
        [
            told(
                CREATED,
                0,
                mrr=0,
                subscription_items=[
                    item(unit_price=4900, amount=4900),
                    ADDON,
                    item("setup", "charge", unit_price=9000, amount=9000),
                    item("calls", "addon", unit_price=5, metered_quantity="0"),
                ],
            )
        ],
        {"mrr": 79, "planName": "team-USD"},
    ),
    (
        "product catalog 1 has a plan and addons",
        [told(CREATED, 0, addons=[{"id": "x", "amount": 300}], **CATALOG_1)],
        {"mrr": 150, "planName": "team"},
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
        [
            told(CREATED, 0),
            event("mrr_updated", 1, subscription=subscription(1, mrr=0)),
        ],
        {"mrr": 0, "subscriptionStatus": "active"},
    ),
    (
        "an MRR that is counted later wins over the event of the same version",
        [
            told(CREATED, 0, mrr=0),
            event("mrr_updated", 0, subscription=subscription(0, mrr=7000)),
        ],
        {"mrr": 70},
    ),
    (
        "of two events with one version the one that occurred later wins",
        [
            event(CHANGED, 2, id_="ev_z", subscription=subscription(1, mrr=1000)),
            event(CHANGED, 3, id_="ev_a", subscription=subscription(1, mrr=2000)),
        ],
        {"mrr": 20},
    ),
    (
        "an older version loses, though it occurs later",
        [
            event(CHANGED, 3, subscription=subscription(1, mrr=1000)),
            event(CHANGED, 2, subscription=subscription(2, mrr=2000)),
        ],
        {"mrr": 20},
    ),
    (
        "without a version the event's own time counts",
        [
            event(CHANGED, 1, subscription=subscription(mrr=10, resource_version=None)),
            event(CHANGED, 2, subscription=subscription(mrr=90, resource_version=None)),
        ],
        {"mrr": 0.9},
    ),
    (
        "a trial pays nothing yet and is no churn",
        [told(CREATED, 0, **TRIAL)],
        {
            "mrr": None,
            "trialEndDate": instant(14),
            "subscriptionStatus": "trialing",
            "churnedAt": None,
            "nextRenewalDate": None,
        },
    ),
    (
        "a trial that becomes paid keeps its end",
        [
            told(CREATED, 0, **TRIAL),
            told("subscription_activated", 14, trial_end=seconds(14)),
        ],
        {"mrr": 98, "trialEndDate": instant(14), "subscriptionStatus": "active"},
    ),
    (
        "a trial that is extended ends later",
        [
            told(CREATED, 0, **TRIAL),
            told(
                "subscription_trial_extended", 9, **{**TRIAL, "trial_end": seconds(28)}
            ),
        ],
        {"trialEndDate": instant(28), "subscriptionStatus": "trialing"},
    ),
    (
        "a trial that is cancelled never was a customer",
        [
            told(CREATED, 0, **TRIAL),
            told(CANCELLED, 7, trial_end=seconds(14), cancelled_at=seconds(7), **GONE),
        ],
        {
            "subscriptionStatus": "unconverted",
            "churnedAt": None,
            "trialEndDate": instant(7),
        },
    ),
    (
        "what will not renew is live until the end of its term",
        [
            told(CREATED, 0),
            told(
                "subscription_cancellation_scheduled",
                5,
                status="non_renewing",
                cancelled_at=seconds(30),
            ),
        ],
        {
            "mrr": 98,
            "churnedAt": None,
            "subscriptionStatus": "active",
            "cancelAt": instant(30),
            "nextRenewalDate": None,
        },
    ),
    (
        "what will not renew ends with its term where no day is told",
        [told(CHANGED, 5, status="non_renewing")],
        {"cancelAt": instant(30), "nextRenewalDate": None, "churnedAt": None},
    ),
    (
        "a scheduled end that is taken back is none",
        [
            told(CREATED, 0),
            told("subscription_cancellation_scheduled", 5, status="non_renewing"),
            told("subscription_scheduled_cancellation_removed", 6),
        ],
        {"cancelAt": None, "nextRenewalDate": instant(30)},
    ),
    (
        "a cancelled subscription is churn, when it ended",
        [told(CREATED, 0), told(CANCELLED, 31, cancelled_at=seconds(30), **GONE)],
        {
            "mrr": None,
            "churnedAt": instant(30),
            "subscriptionStatus": "churned",
            "nextRenewalDate": None,
            "planName": None,
        },
    ),
    (
        "one that is reactivated is live again",
        [
            told(CREATED, 0),
            told(CANCELLED, 30, cancelled_at=seconds(30), **GONE),
            told(REACTIVATED, 40, current_term_end=seconds(70)),
        ],
        {"mrr": 98, "churnedAt": None, "nextRenewalDate": instant(70)},
    ),
    (
        "one of two cancelled is no churn",
        [
            told(CREATED, 0),
            told(CREATED, 1, id="sub_2", mrr=5000, current_term_end=seconds(20)),
            told(CANCELLED, 9, cancelled_at=seconds(9), **GONE),
        ],
        {
            "mrr": 50,
            "churnedAt": None,
            "subscriptionStatus": "active",
            "nextRenewalDate": instant(20),
        },
    ),
    (
        "both cancelled are churn with the last",
        [
            told(CANCELLED, 9, cancelled_at=seconds(9), **GONE),
            told(CANCELLED, 12, id="sub_2", cancelled_at=seconds(12), **GONE),
        ],
        {"mrr": None, "churnedAt": instant(12)},
    ),
    (
        "a pause is no churn",
        [told(CREATED, 0), told("subscription_paused", 8, status="paused", mrr=0)],
        {"mrr": None, "churnedAt": None, "subscriptionStatus": "paused"},
    ),
    (
        "what goes on after a pause pays again",
        [
            told(CREATED, 0),
            told("subscription_paused", 8, status="paused", mrr=0),
            told("subscription_resumed", 12),
        ],
        {"mrr": 98, "subscriptionStatus": "active"},
    ),
    (
        "what begins in the future is neither live nor churn",
        [
            told(CANCELLED, 2, cancelled_at=seconds(2), **GONE),
            told(CREATED, 3, id="sub_2", status="future", mrr=0),
        ],
        {"mrr": None, "churnedAt": None, "subscriptionStatus": "incomplete"},
    ),
    (
        "a deleted subscription never comes back",
        [told(CREATED, 0), told(CHANGED, 20), told("subscription_deleted", 10)],
        {"mrr": None, "churnedAt": instant(10), "subscriptionStatus": "churned"},
    ),
    (
        "a deleted customer takes all with it",
        [
            told(CREATED, 0),
            event("customer_deleted", 9, customer=customer(9, deleted=True)),
        ],
        {"mrr": None, "churnedAt": instant(9), "subscriptionStatus": "churned"},
    ),
    (
        "a contract renews at its end, else the next bill is the renewal",
        [
            told(
                CREATED,
                0,
                next_billing_at=seconds(30),
                contract_term={"status": "active", "contract_end": seconds(365)},
            )
        ],
        {"nextRenewalDate": instant(365)},
    ),
    (
        "terms that were paid in advance renew with the next bill",
        [told(CREATED, 0, next_billing_at=seconds(90))],
        {"nextRenewalDate": instant(90)},
    ),
    (
        "two currencies are never added",
        [
            told(CREATED, 0),
            told(CREATED, 0, id="sub_2", currency_code="EUR", mrr=5000),
        ],
        {"mrr": "left out", "billingCurrency": "left out"},
    ),
]


def split(body: Json) -> tuple[Event]:
    delivery = Delivery("POST", "/", {}, orjson.dumps(body))
    return SOURCE.split(Verified(delivery))


def facts(bodies: Iterable[Json], **said: Any) -> Iterator[Fact]:
    """The way of the ingress, without signature and storage."""
    table = SOURCE.table(said)
    assert not table.problems
    for body in bodies:
        for one in split(body):
            handler = SOURCE.handlers[one.type]
            loaded = handler.schema.load(one.body)
            yield from handler.facts(one, loaded, {**OPTIONS, **table.values})


def outcome(found: Iterable[Fact]) -> tuple[set[Identity], Document]:
    histories = {party: compact(History(own)) for party, own in by_party(found).items()}
    parties = [Party(name, fold(history)) for name, history in histories.items()]
    names = {identify(party.things) for party in parties}
    return names, document(unite("account", parties))


@pytest.mark.parametrize(
    ("events", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_case_has_its_traits_in_whatever_order_it_is_delivered(
    events: list[Json], wanted: dict[str, Any]
) -> None:
    for order in (events, events[::-1], [*events[::2], *events]):
        names, doc = outcome(facts(order))
        found = {trait: doc.traits.get(trait, "left out") for trait in wanted}

        assert wanted == found
        assert {Identity("cb_1")} == names


def test_there_are_enough_cases() -> None:
    assert len(CASES) == len({name for name, *_ in CASES}) >= 20


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
@pytest.mark.parametrize("kind", ["customer", "subscription"])
def test_a_custom_field_of_either_names_the_account(
    kind: str, place: str, own: Json, account: str | None
) -> None:
    make = {"customer": customer, "subscription": subscription}
    body = event(f"{kind}_changed", 0, **{kind: make[kind](**own)})
    names, _ = outcome(facts([body], account=place))

    assert {account} == {name.account for name in names}


def test_the_customer_s_own_word_wins_over_the_subscription_s() -> None:
    body = event(
        CHANGED,
        0,
        subscription=subscription(cf_id="of-the-subscription"),
        customer=customer(cf_id="of-the-customer"),
    )
    names, _ = outcome(facts([body], account="cf_id"))

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
    _, doc = outcome(facts([event("customer_changed", 0, customer=customer(**own))]))

    assert name == doc.name.text


def test_a_customer_whose_creation_was_seen_has_a_whole_history() -> None:
    created = event("customer_created", 0, customer=customer())
    seen = {
        kind: fold(History(list(facts([body]))))["customer"].creation_seen
        for kind, body in {"created": created, "met": told(CHANGED, 1)}.items()
    }

    assert {"created": True, "met": False} == seen


def test_another_customer_of_the_event_is_not_the_subscription_s() -> None:
    """Of a hierarchy the payer is told beside the subscription of another."""
    body = event(CHANGED, 0, subscription=subscription(), customer=customer(id="payer"))

    assert {"chargebee:cb_1"} == {fact.party for fact in facts([body])}


# --- Who may send, and what is no event ----------------------------------------------


def verified(own: dict[str, str], **options: Any) -> Verified:
    delivery = Delivery("POST", "/webhooks/chargebee", own, b"{}")
    return SOURCE.verify(delivery, {**OPTIONS, **options}, 0)


@pytest.mark.parametrize(
    ("username", "password"), [("only-a-user", None), (None, "only-a-password")]
)
def test_either_alone_is_enough_to_be_switched_on(
    username: str | None, password: str | None
) -> None:
    options = {
        "CHARGEBEE_WEBHOOK_USERNAME": username,
        "CHARGEBEE_WEBHOOK_PASSWORD": password,
    }

    assert SOURCE.enabled(options)
    assert verified(headers(username or "", password or ""), **options)
    with pytest.raises(SignatureError):
        verified(headers("", ""), **options)


RIGHT = headers()["authorization"]


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"authorization": ""},
        {"authorization": "Basic"},
        {"authorization": "Basic !"},
        {"authorization": RIGHT.replace("Basic", "Bearer")},
        {"authorization": f"{RIGHT}, {RIGHT}"},
        {"authorization": f"{RIGHT}\N{SNOWMAN}"},
        headers(password="wrong"),
        headers(username="wrong"),
        headers(password=""),
    ],
)
def test_anything_else_is_refused(own: dict[str, str]) -> None:
    with pytest.raises(SignatureError):
        verified(own)


@given(st.text())
def test_no_header_is_more_than_refused(text: str) -> None:
    with pytest.raises(SignatureError):
        verified({"authorization": text})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no JSON"),
        (b"[" * 5000, "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "no id"),
        (b'{"id": "ev_1"}', "no event_type"),
        (b'{"id": "ev_1", "event_type": "x", "occurred_at": true}', "no occurred_at"),
        (b'{"id": "ev_1", "event_type": "x", "occurred_at": -1}', "no occurred_at"),
    ],
)
def test_what_is_no_event_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        SOURCE.split(Verified(Delivery("POST", "", {}, body)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.sampled_from(sorted(SOURCE.handlers)),
    st.dictionaries(
        st.sampled_from(sorted({*subscription(), *customer(), "coupons", "addons"})),
        JSON,
        max_size=4,
    ),
    JSON,
)
def test_no_content_is_more_than_refused(kind: str, said: Json, content: Any) -> None:
    """A ValidationError is the quarantine; anything else would be a 500."""
    handler = SOURCE.handlers[kind]
    whole = {"subscription": {**subscription(), **said}, "customer": customer()}
    for body in ({"content": whole}, {"content": content}, {"content": said}):
        try:
            loaded = handler.schema.load(body)
            found = handler.facts(Event("ev_1", kind, 1000, body), loaded, OPTIONS)
            orjson.dumps([fact.value for fact in found])
        except ValidationError:
            continue
