"""First contact with a Vitally that has accounts, and what others change there later."""

from __future__ import annotations

from tests.support.command import Said, called
from tests.support.local_stripe import KEY, LocalStripe, customer, subscription
from tests.support.stack import Stack

CUSTOMERS = 300


def backfilled(stack: Stack, stripe: LocalStripe) -> Said:
    """Read all customers, with a worker that starts now; wait until all is written."""
    worker = stack.worker()
    api = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url}
    said = called("backfill", "stripe", "--yes", environ={**stack.environ, **api})
    stack.settled()
    worker.terminate()
    return said


def asked(stack: Stack, since: int) -> dict[str, int]:
    """How many requests of each method Vitally has answered."""
    methods = [one["method"] for one in stack.vitally.log(since)]
    return {method: methods.count(method) for method in sorted({*methods})}


def test_a_backfill_writes_nothing_that_vitally_has_right_and_the_rest_once(
    stack: Stack,
) -> None:
    with LocalStripe() as stripe:
        for n in range(CUSTOMERS):
            stripe.put(customer(f"cus_{n}"), subscription(f"sub_{n}", f"cus_{n}"))
        assert "0 accounts in Vitally" in backfilled(stack, stripe).err
        # One page, and the worker's probe of the key.
        assert {"GET": 2, "POST": CUSTOMERS} == asked(stack, 0)

        stack.redis.flushdb()
        before = len(stack.vitally.log())
        stripe.put(customer("cus_new"), subscription("sub_new", "cus_new"))
        assert f"{CUSTOMERS} accounts in Vitally" in backfilled(stack, stripe).err
        assert {"GET": CUSTOMERS // 100 + 1, "POST": 1} == asked(stack, before)
        assert CUSTOMERS == stack.figures().saved
