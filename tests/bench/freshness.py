"""How long after its event a write arrives at Vitally, when nothing else is to do."""

from __future__ import annotations

import random
import time
from pathlib import Path

from bridge.store import keys
from tests.bench.figure import Figure, figure, say
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually

EVENTS = 100


def measure(folder: Path) -> dict[str, Figure]:
    """Return milliseconds from the delivery to the PUT's first line."""
    with Stack(folder) as stack:
        stack.web()
        stack.worker()
        stripe = stack.ready().stripe()
        shops = [Shop() for _ in range(EVENTS)]
        say(f"freshness: {EVENTS} accounts, then one event of each")
        for shop in shops:
            stripe.post(shop.signs_up())
            stripe.post(shop.begins())
        stack.settled(60)
        for key in stack.redis.scan_iter(match=f"{keys.account('')}*"):
            stack.redis.hdel(key, "wrote_at", "pace")
        took = sorted(_one(stack, stripe, shop) for shop in shops)
    return {
        "median": figure([took[len(took) // 2]]),
        "freshness": figure([took[len(took) * 95 // 100]]),
    }


def _one(stack: Stack, stripe: Stripe, shop: Shop) -> float:
    time.sleep(random.uniform(0.02, 0.12))
    told, before = shop.changes(quantity=7), len(stack.vitally.log())
    begun = time.monotonic()
    stripe.post(told)
    puts = eventually(lambda: stack.vitally.log(since=before), 10, what="a write")
    assert [shop.id] == [put["account"] for put in puts], puts
    return puts[0]["started"] - begun * 1000
