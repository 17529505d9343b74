"""A customer of thousands of subscriptions, and what others feel of it."""

from __future__ import annotations

from time import monotonic

import pytest

from bridge.domain.facts import Fact
from bridge.queue import Queue
from bridge.store.accept import Accept
from bridge.store.lease import Claim
from tests.support.desk import customer, subscription
from tests.support.stack import Stack
from tests.support.waiting import eventually

MANY = 6000

pytestmark = pytest.mark.alone


def tell(stack: Stack, fact: Fact) -> None:
    taken = Accept(stack.redis).facts("stripe", [fact])
    if taken.claim:
        Queue(stack.redis).push(Claim(fact.party, taken.claim), fact.event)


def test_others_do_not_wait_for_a_customer_of_thousands_of_subscriptions(
    stack: Stack,
) -> None:
    tell(stack, customer("giant", account="giant"))
    for n in range(MANY):
        tell(stack, subscription("giant", f"sub_{n}", unit=100))
    stack.worker()
    eventually(stack.has("giant", mrr=MANY))
    waited: list[float] = []
    for n in range(8):
        for sub in range(5):
            tell(stack, subscription("giant", f"sub_{sub}", at=n + 1, unit=100 + n))
        began = monotonic()
        tell(stack, customer(f"small_{n}", account=f"small_{n}"))
        eventually(lambda n=n: stack.account(f"small_{n}"))
        waited.append(monotonic() - began)

    eventually(stack.has("giant", mrr=MANY + 5 * 7 / 100))
    # Two seconds on a machine of its own; this one may be shared.
    assert sorted(waited)[4] < 2.0
