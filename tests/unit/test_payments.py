"""Payments as facts: explained, kept for good, and none while no trait wants them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge.config import USED
from bridge.domain.account import Party, unite
from bridge.domain.document import document
from bridge.domain.explanation import causes
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.fold import History, compact, fold
from bridge.domain.money import STRIPE
from bridge.domain.traits import OPTIONAL
from bridge.explain import aloud
from bridge.sources.chargebee import SOURCE as CHARGEBEE
from bridge.sources.stripe import SOURCE
from bridge.sources.stripe.facts import needed_events
from bridge.store import codec
from tests.support import chargebee
from tests.support.reader import Reader, folded
from tests.support.stripe_cases import FOLDER, cases_of, events

ALL = frozenset(OPTIONAL)
PAYMENTS = {name for name, trait in OPTIONAL.items() if trait.about == "payers"}
CASES = {
    case["name"][:4].strip(): case for case in cases_of(FOLDER / "stripe_payments.toml")
}
POLICY = STRIPE._replace(use=ALL)


def reader(*use: str) -> Reader:
    on: Any = {USED: frozenset(use)}
    return Reader(SOURCE, **on)


def told(name: str) -> list[Any]:
    return [*events(CASES[name], "items")]


def test_a_bridge_without_these_traits_stores_and_answers_as_before() -> None:
    before, now = Reader(SOURCE), reader("arr", "seats")

    for case in CASES:
        for body in told(case):
            assert before.facts(body) == now.facts(body)
            assert before.why_not(body) == now.why_not(body)
            things = {fact.thing.partition(":")[0] for fact in now.facts(body)}
            assert things <= {"customer", "subscription"}
    assert needed_events(before.options) == needed_events(now.options)
    assert "invoice.paid" not in needed_events(now.options)
    assert "invoice.paid" in needed_events(reader("lastPaidAt").options)
    grants = {"created", "updated"}
    more = {f"billing.credit_grant.{verb}" for verb in grants}
    more |= {"billing.credit_balance_transaction.created"}
    assert more <= {*needed_events(reader("creditBalance").options)}
    assert more.isdisjoint(needed_events(reader(*ALL - {"creditBalance"}).options))


ODD_PARTS = [
    ({"balance": 1.5, "currency": "usd"}, {}),
    ({"balance": 5, "currency": "xx"}, {"balance": "5"}),
    ({"invoice_settings": [], "default_source": "pm_1"}, {"method": ""}),
    ({"invoice_settings": {"default_payment_method": ""}}, {"method": ""}),
    ({"default_payment_method": "", "default_source": "pm_1"}, {"method": ""}),
    ({"default_source": 7}, {"method": ""}),
]


@pytest.mark.parametrize(("odd", "expected"), ODD_PARTS)
def test_what_only_these_traits_need_cannot_stop_the_rest(odd, expected) -> None:
    body = {"id": "e", "object": "event", "created": 1}
    owner = {"id": "cus_1", "name": "Ada", **odd}
    body |= {"type": "customer.updated", "data": {"object": owner}}

    (customer,) = Reader(SOURCE).facts(body)
    same, billing = reader("accountBalance").facts(body)

    assert {"account": "cus_1", "name": "Ada"} == customer.value == same.value
    assert expected == billing.value


def test_each_is_explained_by_its_invoice_or_its_party() -> None:
    parties = folded(reader(*ALL).facts(*told("p02"), *told("p12")))
    found = causes(unite("a", parties), POLICY)

    assert PAYMENTS <= found.keys()
    (failed,), (balance,) = found["paymentFailedAt"], found["accountBalance"]
    assert ("in_1", "stripe:cus_1") == (failed["subscription"], failed["party"])
    assert aloud(failed).startswith("gives 2026-11-05")
    assert "is -19.99 USD" == aloud(balance)
    assert 19.99 == document(unite("a", parties), POLICY).traits["creditBalance"]
    assert "`backfill` reads invoices" in aloud(found["lifetimePaid"][0])


DUE_AT = 1_800_000_000


@pytest.mark.parametrize(
    ("now", "shown", "until"),
    [
        (DUE_AT - 1, "2027-01-15T08:00:00.000Z", DUE_AT + 3600),
        (DUE_AT + 3599, "2027-01-15T08:00:00.000Z", DUE_AT + 3600),
        (DUE_AT + 3600, None, None),
    ],
)
def test_an_attempt_that_came_to_nothing_is_not_the_next_one(now, shown, until) -> None:
    body = {"id": "e", "object": "event", "type": TOLD[0][0], "created": DUE_AT - 9}
    body |= {"data": {"object": INVOICE}}

    _, doc = reader("paymentRetryAt").outcome(body, now=now * 1000)

    assert shown == doc.traits["paymentRetryAt"]
    assert until == (doc.until and doc.until // 1000)


def paid(n: int, at: int) -> Fact:
    step = {"id": f"in_{n:024}", "step": "paid", "at": at, "currency": "usd"}
    value = {**step, "amount": "100"}
    stamp = Stamp(False, at, Rank.UPDATED)
    return Fact("stripe:c", "payments", stamp, f"evt_{n}", "invoice.paid", value, "x")


def test_thousands_of_invoices_are_a_few_rows_and_soon_read() -> None:
    many = [paid(n, 1000 * n) for n in range(1, 5001)]
    born = Fact("stripe:c", "billing", Stamp(False, 0, 0), "e", "k", {}, "b")
    history = compact(History([*many, born]))
    kept = compact(History([*history.facts, *many[:100]], history.retained))
    seconds = []
    for _ in range(3):  # what it takes is the least: garbage is collected now and then
        began = time.thread_time()
        things = fold(History(history.facts, history.retained))
        doc = document(unite("a", [Party("stripe:c", things)]), POLICY)
        seconds.append(time.thread_time() - began)

    assert 5000 == doc.traits["lifetimePaid"]
    assert min(seconds) < 0.25
    assert len(history.facts) <= 4
    assert history.retained == kept.retained
    (_, rows) = codec.rewrite(History([]), history)
    assert sum(map(len, rows.values())) < 5000 * 130


@pytest.mark.parametrize(
    ("month", "end"),
    [(12, "2027-12-31T23:59:59.999Z"), (2, "2027-02-28T23:59:59.999Z")],
)
@pytest.mark.parametrize("kind", ["payment_method.updated", "customer.source.updated"])
def test_a_card_expires_at_the_end_of_its_month(month, end, kind) -> None:
    card = {"exp_month": month, "exp_year": 2027}
    own = card if kind.startswith("customer") else {"type": "card", "card": card}
    event = {"id": "e", "object": "event", "type": kind, "created": 1_800_000_000}
    event["data"] = {"object": {"id": "pm_1", "customer": "cus_1", **own}}
    owner = {"id": "cus_1", "default_source": "pm_1", "balance": 0}
    made = {**event, "id": "f", "type": "customer.created", "data": {"object": owner}}

    _, doc = reader("paymentMethodExpiresAt").outcome(event, made)

    assert end == doc.traits["paymentMethodExpiresAt"]


STEPS = st.builds(
    lambda n, step, at: Fact(
        "stripe:c",
        "payments",
        Stamp(False, at, Rank.UPDATED),
        f"evt_{n}_{step}_{at}",
        "invoice.updated",
        {"id": f"in_{n}", "step": step, "at": at, "currency": "usd", "amount": f"{n}"},
        "x",
    ),
    st.integers(0, 3),
    st.sampled_from(["failed", "open", "paid", "void"]),
    st.integers(1, 4),
)


@given(st.lists(STEPS, max_size=8), st.lists(STEPS, max_size=8), st.randoms())
def test_steps_are_what_they_are_however_they_are_compacted(first, then, random):
    """Any order, any repetition and any grouping come to the same."""
    mixed = [*first, *then, *first]
    random.shuffle(mixed)
    some = compact(History(first))
    every = compact(compact(History([*some.facts, *then], some.retained)))

    seen = {f["payments"].seen for f in map(fold, (every, History(mixed))) if f}
    assert len(seen) <= 1


INVOICE: Any = {"id": "in_1", "customer": "cus_1", "status": "open", "currency": "usd"}
INVOICE |= {"amount_paid": 5, "attempt_count": 1, "next_payment_attempt": 1_800_000_000}
CARD: Any = {
    "id": "pm_1",
    "customer": "cus_1",
    "card": {"exp_month": 12, "exp_year": 2030},
}
OWNER: Any = {"id": "cus_1", "balance": 4, "currency": "usd", "default_source": "pm_1"}
TOLD = [("invoice.payment_failed", INVOICE), ("invoice.paid", INVOICE)]
TOLD += [("payment_method.updated", CARD), ("customer.updated", OWNER)]
ODD = [None, True, -1, 1.5, "", "x", [], {}, 2**60, "paid", 9998, 13, {"exp_year": 1}]


@given(st.sampled_from(TOLD), st.data())
def test_whatever_is_told_is_refused_or_counted(one, data) -> None:
    kind, thing = one
    odd = {data.draw(st.sampled_from([*thing])): data.draw(st.sampled_from(ODD))}
    body = {"id": "e", "object": "event", "type": kind, "created": 1_800_000_000}
    with suppress(ValidationError):
        facts = reader(*ALL).facts({**body, "data": {"object": {**thing, **odd}}})
        later = 2**45
        assert document(unite("a", folded(facts)), POLICY, later).until is None


# --- Chargebee ------------------------------------------------------------------------


def bill(kind: str, day: float, id_: str, **said: Any) -> Any:
    own = {"id": id_, "customer_id": "cb_1", "currency_code": "USD", "amount_paid": 0}
    own |= {"status": "payment_due", "deleted": False, "object": "invoice"}
    given = {**own, "resource_version": chargebee.seconds(day) * 1000, **said}
    return chargebee.event(kind, day, invoice=given)


def paid_bill(day: float, id_: str, amount: int) -> Any:
    said = {"status": "paid", "amount_paid": amount, "paid_at": chargebee.seconds(day)}
    return bill("payment_succeeded", day + 1, id_, **said)


BORN = chargebee.event("customer_created", 0, customer=chargebee.customer())
MET = chargebee.event("customer_changed", 0, customer=chargebee.customer())
FAILED = bill("payment_failed", 2, "7", next_retry_at=chargebee.seconds(4))
DUE = bill("invoice_updated", 3, "7", next_retry_at=chargebee.seconds(5))
DAY = chargebee.instant


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        (
            [BORN, paid_bill(1, "6", 4900), FAILED, DUE],
            {"paymentFailedAt": DAY(2), "paymentRetryAt": DAY(5), "lifetimePaid": 49},
        ),
        (
            [BORN, FAILED, bill("invoice_updated", 3, "7", status="not_paid")],
            {"paymentFailedAt": DAY(2), "paymentRetryAt": None},
        ),
        (
            [
                *(BORN, paid_bill(1, "6", 4900), paid_bill(2, "7", 100)),
                bill("payment_succeeded", 3, "8", amount_paid=2000),
                bill("invoice_deleted", 4, "7", deleted=True, amount_paid=100),
            ],
            {"lastPaidAt": DAY(1), "lifetimePaid": 69, "paymentFailedAt": None},
        ),
        (
            [BORN, FAILED, DUE, paid_bill(5, "7", 4900), paid_bill(9, "8", 100)],
            {
                "paymentFailedAt": None,
                "paymentRetryAt": None,
                "firstPaidAt": DAY(5),
                "lastPaidAt": DAY(9),
                "lastPaidAmount": 1,
                "lifetimePaid": 50,
            },
        ),
        ([MET, paid_bill(5, "7", 4900)], {"lastPaidAt": DAY(5), "lifetimePaid": ...}),
        (
            [MET, FAILED, bill("invoice_updated", 9, "7", status="voided")],
            {"paymentFailedAt": None, "paymentRetryAt": None, "lastPaidAt": ...},
        ),
        (
            [MET, FAILED, bill("invoice_deleted", 9, "7", deleted=True)],
            {"paymentFailedAt": None},
        ),
        (
            [BORN, bill("invoice_updated", 1, "5", status="pending")],
            {"paymentFailedAt": ..., "accountBalance": ..., "firstPaidAt": ...},
        ),
        (
            [BORN, chargebee.event("payment_failed", 1, transaction={"id": "txn_1"})],
            {"paymentFailedAt": ...},
        ),
    ],
)
def test_chargebee_tells_the_same_of_its_invoices(bodies, expected) -> None:
    on: Any = {USED: ALL}
    _, doc = Reader(CHARGEBEE, **on).outcome(*bodies)

    assert expected == {name: doc.traits.get(name, ...) for name in expected}


def test_the_events_that_chargebee_is_to_send_grow_with_these_traits() -> None:
    assert CHARGEBEE.events is not None
    more = {*CHARGEBEE.events({USED: ALL})} - {*CHARGEBEE.events({})}

    assert {"payment_failed", "payment_succeeded"} <= more
    assert more <= CHARGEBEE.without_effect.keys()


def test_what_chargebee_s_api_does_not_tell_is_not_taken_for_known() -> None:
    on: Any = {USED: ALL}
    (event,) = Reader(CHARGEBEE, **on).events(BORN)
    read = event._replace(type="read")
    handler = CHARGEBEE.handlers["customer_created"]
    options = Reader(CHARGEBEE, **on).options
    facts = [*handler.facts(read, handler.schema.load(read.body), options)]

    assert ["customer"] == [fact.thing for fact in facts]
