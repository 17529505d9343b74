"""One event all the way: from a signed delivery to the right account in Vitally."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stack import Stack
from tests.support.stripe import ON_ITEMS, ON_SUBSCRIPTION, SECRET, Shop, Stripe, iso
from tests.support.waiting import eventually


@pytest.fixture
def stripe(shared: Stack) -> Stripe:
    return shared.stripe()


@pytest.mark.parametrize("version", [ON_ITEMS, ON_SUBSCRIPTION])
@pytest.mark.alone
def test_a_new_customer_is_a_right_account_within_two_seconds(
    shared: Stack, stripe: Stripe, version: str
) -> None:
    shop, ends = Shop(version), 1_795_000_000
    told = [shop.signs_up("Blue Door"), shop.begins(quantity=3, ends=ends)]
    answers = [stripe.post(event) for event in told]
    wanted = {
        "mrr": 147,
        "nextRenewalDate": iso(ends),
        "subscriptionStatus": "active",
        "planName": "Pro",
        "billingCurrency": "USD",
    }

    def right() -> bool:
        account = shared.account(shop.id)
        assert ("Blue Door", wanted) == (account["name"], account["traits"])
        return True

    assert [202, 202] == [answer.status for answer in answers]
    assert eventually(right, within=2)


def test_an_event_that_comes_twice_is_a_duplicate_and_costs_no_write(
    shared: Stack, stripe: Stripe
) -> None:
    shop = Shop()
    told = [shop.signs_up(), shop.begins(), shop.changes(quantity=2)]
    first = [stripe.post(event).receipt for event in told]
    shared.settled()
    writes = len(shared.vitally.writes())
    second = [stripe.post(event).receipt for event in told]
    shared.settled()

    assert "duplicate" not in first
    assert ["duplicate"] * 3 == second
    assert writes == len(shared.vitally.writes())


def test_events_join_a_job_that_waits(shared: Stack, stripe: Stripe) -> None:
    shop = Shop()
    stripe.post(shop.signs_up())
    shared.settled()
    # The account was written just now: its next write, and so its job, waits a second.
    told = [shop.begins(), *(shop.changes(quantity=n) for n in range(2, 20))]
    receipts = [stripe.post(event).receipt for event in told]

    assert ["queued", *["coalesced"] * 18] == receipts
    assert eventually(shared.has(shop.id, mrr=19 * 49))
    written = [w for w in shared.vitally.writes() if w["account"] == shop.id]
    assert len(written) <= 4  # PUT, POST, and two at most for nineteen events


def no_effect(shop: Shop) -> dict[str, Any]:
    return shop.pays()


def other_mode(shop: Shop) -> dict[str, Any]:
    return {**shop.signs_up(), "livemode": True}


def broken(shop: Shop) -> dict[str, Any]:
    told = shop.begins()
    told["data"]["object"]["status"] = 7
    return told


@pytest.mark.parametrize(
    ("make", "receipt", "reason"),
    [
        (no_effect, "ignored", "invoice.paid"),
        (other_mode, "ignored", "mode"),
        (broken, "quarantined", "status"),
    ],
)
def test_what_is_not_read_is_answered_with_the_reason(
    shared: Stack, stripe: Stripe, make: Any, receipt: str, reason: str
) -> None:
    before = getattr(shared.figures(), receipt)
    answer = stripe.post(make(Shop()))

    assert (202, receipt) == (answer.status, answer.receipt)
    assert reason in answer.told["reason"]
    assert before + 1 == getattr(shared.figures(), receipt)


def test_a_stranger_is_refused_and_leaves_no_trace(shared: Stack) -> None:
    shop = Shop()
    before = shared.settled().received
    stranger = Stripe([shared.webs[0].url], secret="whsec_example_of_another")

    assert 401 == stranger.post(shop.signs_up()).status
    assert before == shared.figures().received
    assert shared.vitally.account(shop.id) is None


def test_a_customer_that_leaves_and_comes_back(shared: Stack, stripe: Stripe) -> None:
    shop = Shop()
    for told in (shop.signs_up(), shop.begins(), shop.ends()):
        stripe.post(told)
    left = {"mrr": None, "churnedAt": iso(shop.last), "subscriptionStatus": "churned"}
    assert eventually(shared.has(shop.id, **left))

    stripe.post(shop.begins("2", quantity=2))

    back = {"mrr": 98, "churnedAt": None, "subscriptionStatus": "active"}
    assert eventually(shared.has(shop.id, **back))


def test_what_was_received_and_accepted_adds_up(shared: Stack) -> None:
    seen = shared.settled()

    assert seen.received == (
        seen.accepted + seen.duplicate + seen.ignored + seen.quarantined
    )
    assert seen.accepted == seen.settled + seen.pending + seen.held + seen.parked


def test_no_log_holds_a_secret_a_body_or_personal_data(
    shared: Stack, stripe: Stripe
) -> None:
    shop = Shop()
    stripe.post(shop.signs_up("Jane Roe Example"))
    eventually(lambda: shared.vitally.account(shop.id))
    shared.settled()
    processes = [shared.webs[0].running, shared.workers[0]]
    # The line follows what Redis has.
    eventually(lambda: all(shop.id in one.output for one in processes))
    logs = [one.output for one in processes]

    for private in (SECRET, "sk_test_example", "Jane Roe", "@shop.example", "v1="):
        assert not [log for log in logs if private in log], private
