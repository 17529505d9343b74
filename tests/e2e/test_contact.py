"""First contact with a Vitally that has accounts, and what others change there later."""

from __future__ import annotations

from pathlib import Path

from bridge.store import keys
from bridge.vitally.client import Vitally
from tests.support.command import Said, called
from tests.support.local_stripe import KEY, LocalStripe, customer, subscription
from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually

CUSTOMERS = 200


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


def test_the_schedule_mends_what_others_changed_and_nothing_else(
    stack: Stack, tmp_path: Path
) -> None:
    config = tmp_path / "bridge.toml"
    config.write_text('[vitally]\nkeep_hand_edits = ["planName"]\n')
    stack.web()
    stack.worker(BRIDGE_CONFIG=config)
    people = [Shop() for _ in range(3)]
    sender = stack.stripe()
    for one in people:
        sender.deliver(one.signs_up())
        sender.deliver(one.begins())
    sender.close()
    stack.settled()
    edited, deleted, kept = (one.id for one in people)
    right = stack.account(edited)["traits"]
    vitally = Vitally(stack.vitally.url, stack.vitally.authorization)
    by_hand = {"mrr": 1, "nextRenewalDate": None, "theirs": "stays"}
    vitally.update(edited, {"traits": by_hand})
    vitally.delete(deleted)
    vitally.update(kept, {"traits": {"planName": "Special"}})
    vitally.close()
    before = len(stack.vitally.writes())

    stack.redis.set(keys.RECONCILED, 1)
    eventually(stack.has(edited, **right, theirs="stays"))
    eventually(lambda: stack.vitally.account(deleted), what="the deleted account")
    eventually(lambda: int(stack.redis.get(keys.RECONCILED)) > 1)

    assert stack.has(deleted, **right)()
    assert stack.has(kept, **(right | {"planName": "Special"}))()
    methods = sorted(one["method"] for one in stack.vitally.writes()[before:])
    assert ["POST", "PUT"] == methods
    assert 0 == stack.settled().drift
