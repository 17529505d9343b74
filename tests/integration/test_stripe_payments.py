"""Invoices and cards read from Stripe's own API, together with the events after that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bridge.config import USED
from bridge.domain.account import Party, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact
from bridge.domain.fold import History, compact, fold
from bridge.domain.money import STRIPE
from bridge.domain.refresh import refresh_early_by, restamped, why_refresh
from bridge.domain.traits import OPTIONAL
from bridge.errors import SourceError
from bridge.sources.stripe import SOURCE
from bridge.sources.stripe.facts import needed_events
from tests.integration.test_stripe_api import AT, NOW, api, options
from tests.support.local_stripe import (
    Json,
    LocalStripe,
    credit_grant,
    customer,
    known_events,
    subscription,
)
from tests.support.reader import Reader

USE = frozenset(name for name, one in OPTIONAL.items() if one.about == "payers")
ON: Any = {USED: USE, "STRIPE_MODE": "test"}


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    with LocalStripe() as running:
        running.clock = lambda: NOW + 0.9
        yield running


def invoice(id_: str, status: str, paid: int, at: int = NOW, **more: Any) -> Json:
    told = {"id": id_, "object": "invoice", "customer": "cus_1", "status": status}
    told |= {"currency": "usd", "amount_paid": paid, "created": at, "attempt_count": 1}
    return told | {"status_transitions": {"paid_at": at if paid else None}} | more


def card(id_: str, year: int) -> Json:
    expires = {"exp_month": 3, "exp_year": year}
    return {"id": id_, "object": "payment_method", "type": "card", "card": expires}


def party(*facts: Fact) -> Party:
    return Party("stripe:cus_1", fold(compact(History(facts))))


def doc(*facts: Fact, now: int = NOW) -> Document:
    return document(unite("a", [party(*facts)]), STRIPE_USE, now * 1000)


STRIPE_USE = STRIPE._replace(use=USE)


def event(id_: str, kind: str, thing: Json, at: int) -> Json:
    told = {"id": id_, "object": "event", "type": kind, "created": at}
    return told | {"livemode": False, "data": {"object": thing}}


def test_what_was_paid_before_is_read_page_by_page(
    stripe: LocalStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.sources.stripe.api.MOST", 2)
    settings = {"default_payment_method": card("pm_1", 2031)}
    stripe.put(
        customer("cus_1", balance=-500, currency="usd", invoice_settings=settings)
    )
    stripe.put(
        subscription("sub_1", "cus_1", default_payment_method=card("pm_2", 2030))
    )
    days = [NOW - 86_400 * n for n in range(1, 6)]
    stripe.put(*(invoice(f"in_{n}", "paid", 1000, at) for n, at in enumerate(days)))
    stripe.put(invoice("in_x", "open", 0, next_payment_attempt=NOW + 60))
    stripe.put(invoice("in_d", "draft", 0, attempt_count=0))

    facts = api(stripe, **ON).party("stripe:cus_1")
    again = restamped(facts, Party("stripe:cus_1", fold(History(facts))))
    told = doc(*facts)

    assert "2026-09-20T14:13:20.000Z" == told.traits["lastPaidAt"]
    expected = {"lifetimePaid": 50, "lastPaidAmount": 10, "accountBalance": -5}
    expected |= {"firstPaidAt": "2026-09-16T14:13:20.000Z"}
    expected |= {"paymentMethodExpiresAt": "2030-03-31T23:59:59.999Z"}
    expected |= {"paymentRetryAt": "2026-09-21T14:14:20.000Z"}
    assert expected == {name: told.traits.get(name) for name in expected}
    assert "in_x: whether its payment failed" in told.unknown["paymentFailedAt"]
    assert told == doc(*facts, *again)

    late = event(
        "evt_1", "invoice.payment_failed", stripe.listed("invoices")[5], NOW - 9
    )
    paid = event("evt_2", "invoice.paid", invoice("in_x", "paid", 700), NOW + 5)
    reader = Reader(SOURCE, **ON)
    failed, over = reader.facts(late), reader.facts(late, paid, paid)
    assert doc(*failed, *facts).traits["paymentFailedAt"] == "2026-09-21T14:13:11.000Z"
    assert doc(*over, *facts).traits["paymentFailedAt"] is None
    assert doc(*facts, *over).traits["lifetimePaid"] == 57


def test_a_customer_who_never_paid_is_known_to_have_paid_nothing(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1", balance=0))

    told = doc(*api(stripe, **ON).party("stripe:cus_1"))

    assert (0, None) == (told.traits["lifetimePaid"], told.traits["firstPaidAt"])
    assert told.traits["paymentFailedAt"] is None


def test_an_odd_card_or_invoice_is_unknown_and_the_rest_is_read(
    stripe: LocalStripe,
) -> None:
    odd = card("pm_1", 2031) | {"card": {"exp_month": 13, "exp_year": 2031}}
    settings = {"default_payment_method": odd}
    stripe.put(customer("cus_1", balance=1.5, invoice_settings=settings))
    stripe.put(subscription("sub_1", "cus_1", default_source=7))
    stripe.put(invoice("in_1", "paid", 1000), invoice("in_2", "lost", 0))

    told = doc(*api(stripe, **ON).party("stripe:cus_1"))

    assert {"mrr", "subscriptionStatus"} <= told.traits.keys()
    assert {"lifetimePaid", "lastPaidAt", "paymentFailedAt"} <= told.unknown.keys()
    assert {"accountBalance", "paymentMethodExpiresAt"} <= told.unknown.keys()


def test_without_these_traits_the_requests_are_as_before(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"), subscription("sub_1", "cus_1"))
    api(stripe).party("stripe:cus_1")
    before, stripe.log = [(one.path, one.query) for one in stripe.log], []
    facts = api(stripe, **{USED: frozenset({"arr"})}).party("stripe:cus_1")

    assert before == [(one.path, one.query) for one in stripe.log]
    assert {"customer", "subscription:sub_1", "read"} == {f.thing for f in facts}
    assert all(fact.stamp.at <= AT for fact in facts)


def test_a_key_that_may_not_read_invoices_is_named(stripe: LocalStripe) -> None:
    stripe.forbidden = {"invoices"}

    assert api(stripe).probe()
    with pytest.raises(SourceError, match="rak_invoice_read"):
        api(stripe, **ON).probe()


def test_stripe_knows_every_event_that_an_endpoint_is_to_send(
    stripe: LocalStripe,
) -> None:
    needed = needed_events(options(stripe, **ON))

    assert set(needed) <= known_events()
    assert "invoice.paid" in needed


# --- Credit grants --------------------------------------------------------------------


def grants(stripe: LocalStripe) -> None:
    """A customer with credit on its balance, and grants of which two will count."""
    stripe.put(customer("cus_1", balance=-500, currency="usd"), customer("cus_2"))
    soon = {"effective_at": NOW + 100, "expires_at": NOW + 500}
    unit = {"type": "custom_pricing_unit", "custom_pricing_unit": {"value": "9"}}
    stripe.put(
        credit_grant("credgr_1", "cus_1", 1000),
        credit_grant("credgr_2", "cus_1", 200, category="promotional", **soon),
        credit_grant("credgr_3", "cus_1", 10_000, expires_at=NOW - 60),
        credit_grant("credgr_4", "cus_1", 20_000, voided_at=NOW - 60),
        credit_grant("credgr_5", "cus_1", 0, amount=unit),
        credit_grant("credgr_6", "cus_2", 40_000),
    )
    stripe.left = {"credgr_1": 700}


def test_what_is_left_of_grants_is_credit_while_they_last(stripe: LocalStripe) -> None:
    grants(stripe)

    facts = api(stripe, **ON).party("stripe:cus_1")

    at = {now: doc(*facts, now=NOW + now) for now in (0, 99, 100, 499, 500)}
    shown = [one.traits["creditBalance"] for one in at.values()]
    assert [12, 12, 14, 14, 12] == shown
    until = [one.until and one.until // 1000 - NOW for one in at.values()]
    assert [100, 100, 500, 500, None] == until
    asked = [one for one in stripe.log if one.path.endswith("credit_balance_summary")]
    assert ["credgr_1"] == [dict(one.query)["filter[credit_grant]"] for one in asked]


@pytest.mark.parametrize("currencies", [("usd", "eur"), ("eur", "usd")])
def test_credit_in_two_currencies_does_not_add_up(stripe, currencies) -> None:
    stripe.put(customer("cus_1", balance=0))
    for n, code in enumerate(currencies):
        amount = {"type": "monetary", "monetary": {"currency": code, "value": 100}}
        stripe.put(credit_grant(f"credgr_{n}", "cus_1", 0, amount=amount))

    told = doc(*api(stripe, **ON).party("stripe:cus_1"))

    assert "several currencies: EUR, USD" == told.unknown["creditBalance"]
    assert 0 == told.traits["accountBalance"]


def test_after_an_event_of_a_grant_its_customer_is_read_again(
    stripe: LocalStripe,
) -> None:
    grants(stripe)
    reads = api(stripe, **ON)
    first = reads.party("stripe:cus_1")
    grant = stripe.listed("billing.credit_grants")[0]
    reader = Reader(SOURCE, **options(stripe, **ON))
    told = event("evt_1", "billing.credit_grant.updated", grant, NOW + 5)
    old = event("evt_0", "billing.credit_grant.created", grant, NOW - 5)
    new = reader.facts(old, told, told)

    for facts in ([*first, *new], [*new, *first], [*new[::-1], *first, *new]):
        assert "what is left of its credit grants" in doc(*facts).unknown[CREDIT]
        why = why_refresh(party(*facts), STRIPE_USE, NOW * 1000)
        assert "an event without content came" == why

    stripe.clock = lambda: NOW + 5
    early = restamped(reads.party("stripe:cus_1"), party(*first, *new))
    assert refresh_early_by(party(*first, *new, *early)) > 0

    stripe.left, stripe.clock = {"credgr_1": 1}, lambda: NOW + 9
    again = restamped(reads.party("stripe:cus_1"), party(*first, *new))
    for facts in ([*first, *new, *again], [*again, *new, *first]):
        assert 5.01 == doc(*facts).traits[CREDIT]
        assert why_refresh(party(*facts), STRIPE_USE, NOW * 1000) is None


CREDIT = "creditBalance"


@pytest.mark.parametrize("account", ["", "acct_1"])
def test_what_was_spent_of_a_grant_leads_to_its_customer(stripe, account) -> None:
    on = {**ON, "STRIPE_CONNECT": bool(account)}
    stripe.put(credit_grant("credgr_1", "cus_1", 1000), account=account)
    spent = {"id": "cbtxn_1", "object": "billing.credit_balance_transaction"}
    spent |= {"type": "debit", "credit_grant": "credgr_1"}
    told = event("evt_1", f"{spent['object']}.created", spent, NOW)
    told |= {"account": account} if account else {}

    (fact,) = Reader(SOURCE, **options(stripe, **on)).facts(told)
    thing = fact.party.removeprefix("pointer:stripe:")

    owner = f"stripe:{account}/cus_1" if account else "stripe:cus_1"
    assert owner == api(stripe, **on).owner(thing)
    assert api(stripe, **on).owner(thing + "9") is None
    assert [] == Reader(SOURCE, **on).facts(told)


def test_a_deleted_customer_has_no_grants_and_none_are_asked_for(stripe) -> None:
    stripe.put(customer("cus_1", deleted=True))

    facts = api(stripe, **ON).party("stripe:cus_1")

    assert [{"grants": []}] == [f.value for f in facts if f.thing == "billing:grants"]
    assert not [one for one in stripe.log if "billing" in one.path]


def test_a_key_that_may_not_read_grants_is_named(stripe: LocalStripe) -> None:
    stripe.forbidden = {"billing.credit_grants"}
    less: Any = {**ON, USED: USE - {CREDIT}}

    assert api(stripe, **less).probe()
    with pytest.raises(SourceError, match="rak_billing_credit_grant_read"):
        api(stripe, **ON).probe()
