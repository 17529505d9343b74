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
from bridge.domain.refresh import restamped
from bridge.domain.traits import OPTIONAL
from bridge.errors import SourceError
from bridge.sources.stripe import SOURCE
from bridge.sources.stripe.facts import needed_events
from tests.integration.test_stripe_api import AT, NOW, api, options
from tests.support.local_stripe import (
    Json,
    LocalStripe,
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


def doc(*facts: Fact) -> Document:
    things = fold(compact(History(facts)))
    return document(unite("a", [Party("stripe:cus_1", things)]), STRIPE_USE, NOW * 1000)


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
