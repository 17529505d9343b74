"""Kills, stalls and lies, seeded: whatever was answered 2xx is right in the end.

The seed is printed; `CHAOS_SEED=7 CHAOS_SECONDS=60 pytest -m chaos tests/chaos` plays
one again. One checker states all invariants (design: I1, I2, I3, I5).
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from urllib3.exceptions import HTTPError

from bridge.domain.account import Party, unite
from bridge.domain.document import document
from bridge.domain.facts import Fact
from bridge.domain.fold import Past, fold
from bridge.sources.stripe import SOURCE
from bridge.store import keys
from bridge.webhook.source import Delivery, Verified
from tests.support.stack import Stack
from tests.support.stripe import ON_ITEMS, ON_SUBSCRIPTION, YEARLY, Shop, Stripe
from tests.support.waiting import eventually

pytestmark = pytest.mark.chaos

SHOPS = 12
SECONDS = float(os.environ.get("CHAOS_SECONDS", "25"))
SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEED", "1").split(",")]

FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}},
    {"kind": "timeout_after_commit"},
    {"kind": "reset_before"},
    {"kind": "reset_after_commit"},
    {"kind": "truncated"},
    {"kind": "non_json"},
    {"kind": "delay", "seconds": 3},
]

OPTIONS = {
    "STRIPE_WEBHOOK_SECRET": ("x",),
    "STRIPE_MODE": "test",
    "STRIPE_ACCOUNT_ID_KEY": None,
    "STRIPE_API_KEY": None,
}


class World:
    """A stack, its customers, and a monkey that breaks things while they live."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack = stack
        self.rng = random.Random(seed)
        self.stripe: Stripe = stack.stripe()
        self.waiting: list[dict[str, Any]] = []
        self.taken: dict[str, list[dict[str, Any]]] = {}
        for number in range(SHOPS):
            shop = Shop((ON_ITEMS, ON_SUBSCRIPTION)[number % 2], "chaos")
            self.waiting += self.life(shop)
        self.rng.shuffle(self.waiting)
        self.waiting += self.rng.sample(self.waiting, len(self.waiting) // 5)

    def life(self, shop: Shop) -> list[dict[str, Any]]:
        """A life of one customer, of a dozen events."""
        told = [shop.signs_up(), shop.begins("1", status="trialing")]
        told += [shop.changes("1", status="active"), shop.begins("2", YEARLY)]
        for _ in range(self.rng.randint(2, 6)):
            quantity, same = self.rng.randint(1, 9), self.rng.choice((0, 60))
            told.append(shop.changes("1", quantity=quantity, seconds=same))
        if self.rng.random() < 0.5:
            told += [shop.ends("1"), shop.changes("2", status="past_due")]
        if self.rng.random() < 0.3:
            told.append(shop.ends("2"))
        return told

    def post(self) -> None:
        """Send one event; without a 2xx it is sent again later."""
        if not self.waiting:
            return
        told = self.waiting.pop()
        try:
            answer = self.stripe.post(told)
        except HTTPError:
            self.waiting.insert(0, told)
            return
        if answer.status == 202:
            customer = told["data"]["object"]
            owner = customer.get("customer") or customer["id"]
            self.taken.setdefault(owner, []).append(told)
        else:
            assert answer.status == 503, answer
            self.waiting.insert(0, told)

    def monkey(self) -> list[Callable[[], None]]:
        """Everything that may go wrong."""
        return [
            self.kill_worker,
            self.stop_worker,
            self.pause_worker,
            self.kill_redis,
            self.pause_redis,
            self.kill_web,
            self.fault,
            self.fault,
            self.fault,
        ]

    def kill_worker(self) -> None:
        self.worker().kill()
        self.stack.worker()

    def stop_worker(self) -> None:
        self.worker().terminate()
        self.stack.worker()

    def worker(self) -> Any:
        place = self.rng.randrange(len(self.stack.workers))
        return self.stack.workers.pop(place)

    def pause_worker(self) -> None:
        pid = self.rng.choice(self.stack.workers).pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self.rng.choice((1, 8)))
        os.kill(pid, signal.SIGCONT)

    def kill_redis(self) -> None:
        self.stack.redis_server.kill()
        time.sleep(self.rng.random())
        self.stack.redis_server.restart()

    def pause_redis(self) -> None:
        self.stack.redis_server.pause()
        time.sleep(self.rng.choice((0.5, 3)))
        self.stack.redis_server.resume()

    def kill_web(self) -> None:
        self.stack.webs.pop(0).running.kill()
        self.stack.web()
        self.stripe = self.stack.stripe()

    def fault(self) -> None:
        fault = {"match": {"method": self.rng.choice(("PUT", "POST"))}, "times": 1}
        self.stack.vitally.break_with([fault | self.rng.choice(FAULTS)])

    def play(self) -> None:
        """Post and break for a while, then mend everything and post the rest."""
        end = time.monotonic() + SECONDS
        pace = SECONDS / (len(self.waiting) + 1)
        broken = time.monotonic()
        while time.monotonic() < end:
            self.post()
            time.sleep(pace * 0.6)
            if time.monotonic() - broken > 1.5:
                self.rng.choice(self.monkey())()
                broken = time.monotonic()
        self.stack.vitally.mend()
        deadline = time.monotonic() + 30
        while self.waiting and time.monotonic() < deadline:
            self.post()
            time.sleep(0.01)
        assert [] == self.waiting

    def expected(self, owner: str) -> dict[str, Any]:
        """Traits that the pure fold of all accepted events knows."""
        facts: list[Fact] = []
        for told in self.taken[owner]:
            body = orjson.dumps(told)
            for event in SOURCE.split(Verified(Delivery("POST", "", {}, body))):
                handler = SOURCE.handlers[event.type]
                loaded = handler.schema.load(event.body)
                facts += handler.facts(event, loaded, OPTIONS)
        party = Party(f"stripe:{owner}", fold(Past(facts)))
        return dict(document(unite(owner, [party])).traits)

    def check(self) -> None:
        """I1, I2, I3 and I5, and no account twice."""
        now = self.stack.figures()
        assert now.received == (
            now.accepted + now.duplicate + now.ignored + now.quarantined
        )
        assert now.accepted == now.settled
        assert (0, 0, 0) == (now.pending, now.held, now.parked)
        assert [] == self.stack.overlaps()
        made = self.stack.creations()
        assert sorted(set(made)) == sorted(made)
        for owner in self.taken:
            expected = self.expected(owner)
            found = self.stack.account(owner)["traits"]
            assert expected == {name: found.get(name) for name in expected}, owner


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_dies_nothing_that_was_taken_is_lost(tmp_path: Path, seed) -> None:
    with Stack(tmp_path) as stack:
        stack.web()
        stack.worker()
        stack.worker()
        world = World(stack.ready(), seed)
        world.play()
        stack.settled(90)
        world.check()
        eventually(lambda: not stack.redis.zcard(keys.LATER), 60, what="the last look")
        stack.settled(30)
        world.check()
