"""A worker dies or pauses in each step of a job; the account is right all the same.

A proxy holds an answer, so that a worker stands exactly in that step; nothing in the
worker knows of it. All steps at once, a worker for each: one other worker then has to
heal all of them within the time that the contract gives it for one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bridge.store.inspect import Figures
from tests.chaos.world import come_to_rest, script
from tests.support.desk import BETWEEN as INTERMEDIATE
from tests.support.proxy import (
    HOLD_LATE,
    HOLD_REPLY,
    HOLD_REQUEST,
    Act,
    Proxy,
    http,
    resp,
)
from tests.support.stack import HERE, Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually

pytestmark = pytest.mark.chaos

RECOVERY = 15.0
"""Seconds within which what a dead worker held is taken up: the contract's."""

AWAKE = 2.0
"""Seconds in which a worker that wakes has done what it was about to do."""

POP = b"BLMOVE"
STARTED = b"ZADD.*rq:wip:bridge"
BETWEEN = b"LREM.*:intermediate"
BEGIN = script("begin")
SLOT = script("reserve", rb"\$32\r\n")
UNCONFIRMED = script("renew", rb"\r\n\[")
LEARN = script("learn_limit")
ACK = script("ack")
FORGET = b"ZREM.*rq:wip:bridge"
UPDATE, CREATE = b"^PUT ", b"^POST "


class Step(NamedTuple):
    """One step: *act* on the first message of *pattern* to Redis or to Vitally.

    *new*: the job is the one that creates the account. *owned*: nobody else may have
    the job meanwhile, for the account is leased. *long*: it sleeps until after the
    second look, which follows a doubtful write.
    """

    name: str
    pattern: bytes
    act: Act
    vitally: bool = False
    new: bool = False
    owned: bool = True
    long: bool = False


STEPS = (
    Step("in RQ, before the pop", POP, HOLD_REQUEST, owned=False),
    Step("in RQ, after the pop", POP, HOLD_REPLY, owned=False),
    Step("in RQ, before it counts as started", STARTED, HOLD_REQUEST, owned=False),
    Step("in RQ, started and still popped", BETWEEN, HOLD_REQUEST, owned=False),
    Step("in RQ, started", BETWEEN, HOLD_REPLY, owned=False),
    Step("in begin, before the lease", BEGIN, HOLD_REQUEST, owned=False),
    Step("in begin, with the lease, all read", BEGIN, HOLD_REPLY),
    Step(
        "in begin, the account noted",
        script("move"),
        HOLD_REPLY,
        new=True,
        owned=False,
    ),
    Step("before the request, with a slot", SLOT, HOLD_REPLY),
    Step("before the request, before it is marked", UNCONFIRMED, HOLD_REQUEST),
    Step("before the request, marked as unconfirmed", UNCONFIRMED, HOLD_REPLY),
    Step("in the update, lost on its way", UPDATE, HOLD_REQUEST, vitally=True),
    Step("in the update, late on its way", UPDATE, HOLD_LATE, vitally=True),
    Step("in the update, done", UPDATE, HOLD_REPLY, vitally=True),
    Step("in the creation, missing", UPDATE, HOLD_REPLY, vitally=True, new=True),
    Step("in the creation, late on its way", CREATE, HOLD_LATE, vitally=True, new=True),
    Step("in the creation, done", CREATE, HOLD_REPLY, vitally=True, new=True),
    Step("after the request", LEARN, HOLD_REQUEST),
    Step("in ack, before it", ACK, HOLD_REQUEST),
    Step("in ack, after it", ACK, HOLD_REPLY),
    Step("after ack, before RQ forgets the job", FORGET, HOLD_REQUEST),
)

MAY_STILL_WRITE = {
    "before the request, marked as unconfirmed",
    "in the update, lost on its way",
    "in the update, late on its way",
    "in the creation, missing",
    "in the creation, late on its way",
}

SLEEPERS = tuple(
    step._replace(name=f"{step.name}, for long", long=True)
    for step in STEPS
    if step.name in MAY_STILL_WRITE
)

WAYS = {"killed": STEPS, "paused": STEPS + SLEEPERS}

CELLS = [(way, step.name) for way, steps in WAYS.items() for step in steps]


class Victim:
    """A worker behind proxies of its own, which pops nothing before it is let."""

    def __init__(self, stack: Stack, step: Step, shop: Shop, ending: ExitStack) -> None:
        self.stack = stack
        self.step = step
        self.shop = shop
        vitally = int(stack.vitally.url.rpartition(":")[2])
        self.redis = ending.enter_context(Proxy(stack.redis_server.port, resp))
        self.vitally = ending.enter_context(Proxy(vitally, http))
        self.gate = self.redis.on(POP, HOLD_REQUEST, times=None)
        self.running = stack.worker(
            REDIS_URL=f"redis://{HERE}:{self.redis.port}/0",
            VITALLY_BASE_URL=f"http://{HERE}:{self.vitally.port}",
        )

    @property
    def mrr(self) -> Any:
        """What Vitally has of its customer; None: no account, "none": no trait."""
        account = self.stack.vitally.account(self.shop.id)
        return account and account["traits"].get("mrr", "none")

    def catch(self, stripe: Stripe) -> None:
        """Give it its job, wait until it stands in its step, and stop its clock."""
        told = self.shop.signs_up() if self.step.new else self.shop.begins()
        assert 202 == stripe.post(told).status
        proxy = self.vitally if self.step.vitally else self.redis
        self.rule = proxy.on(self.step.pattern, self.step.act)
        self.gate.release()
        assert self.rule.caught.wait(30), f"no worker came to: {self.step.name}"
        os.kill(self.running.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let arrive what was held, and the worker go on with it."""
        self.rule.release()
        assert self.rule.passed.wait(15), f"still held: {self.step.name}"
        os.kill(self.running.pid, signal.SIGCONT)


@contextmanager
def caught(stack: Stack, steps: Sequence[Step]) -> Iterator[list[Victim]]:
    """A worker stopped in each of *steps*, and no other worker."""
    stack.web()
    first = stack.worker()
    stripe = stack.ready().stripe()
    shops = [Shop() for _ in steps]
    for step, shop in zip(steps, shops, strict=True):
        if not step.new:
            stripe.post(shop.signs_up())
    stack.settled(60)
    assert 0 == first.terminate()
    with ExitStack() as ending:
        victims = [
            Victim(stack, step, shop, ending)
            for step, shop in zip(steps, shops, strict=True)
        ]
        for victim in victims:
            assert victim.gate.caught.wait(60), "a worker starts"
        # A job that nobody owns is soon given to another: those come last, and at the
        # very end the one that stays in the list, where the next would pop it.
        for victim in sorted(victims, key=lambda v: v.step.owned)[::-1]:
            victim.catch(stripe)
        yield victims
        for victim in victims:
            victim.running.kill()


class Healed(NamedTuple):
    """What became of all victims' accounts, by step.

    *took*: seconds until each was right, *settled* until nothing was left to do;
    *right* and *found*: each one's `mrr` in the end.
    """

    took: Mapping[str, float]
    settled: float
    right: Mapping[str, Any]
    found: Mapping[str, Any]
    posted: int
    figures: Figures
    creations: Sequence[str]
    overlaps: Sequence[Mapping[str, Any]]
    between: int


def heal(
    stack: Stack, victims: list[Victim], right: Mapping[str, Any]
) -> tuple[dict[str, float], float]:
    """Give all to one healthy worker; when each account was right, and all settled."""
    begun = time.monotonic()
    stack.worker()
    took: dict[str, float] = {}

    def healed() -> bool:
        for victim in victims:
            name = victim.step.name
            if name not in took and right[name] == victim.mrr:
                took[name] = time.monotonic() - begun
        seen = stack.figures()
        return len(took) == len(victims) and not (seen.dirty or seen.pending)

    eventually(healed, 2 * RECOVERY, what="the healing of all victims")
    return took, time.monotonic() - begun


Seen = Callable[[str], Healed]


def play(way: str, folder: Path) -> Healed:
    """Kill every victim, or let it sleep beyond its lease and then go on.

    Before those that sleep wake up, a newer event of each was taken and written.
    """
    steps = WAYS[way]
    with Stack(folder) as stack, caught(stack, steps) as victims:
        posted = 2 * len(steps) - sum(step.new for step in steps)
        right = {step.name: "none" if step.new else 49 for step in steps}
        for victim in victims:
            if way == "killed":
                victim.running.kill()
                continue
            change = victim.shop.begins if victim.step.new else victim.shop.changes
            assert 202 == stack.stripe().post(change(quantity=2)).status
            right[victim.step.name] = 98
            posted += 1
        took, settled = heal(stack, victims, right)
        for long in (False, True) if way == "paused" else ():
            for victim in victims:
                if victim.step.long == long:
                    victim.wake()
            time.sleep(AWAKE)
            come_to_rest(stack)
        return Healed(
            took,
            settled,
            right,
            {victim.step.name: victim.mrr for victim in victims},
            posted,
            stack.figures(),
            stack.creations(),
            stack.overlaps(),
            stack.redis.llen(INTERMEDIATE),
        )


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """What became of all victims of a way; each way is gone once."""
    with ThreadPoolExecutor(1) as pool:
        gone = cache(lambda way: pool.submit(play, way, tmp_path_factory.mktemp(way)))
        yield lambda way: gone(way).result()


@pytest.mark.parametrize(("way", "step"), CELLS)
def test_what_a_worker_held_there_is_taken_up_in_time(
    seen: Seen, way: str, step: str
) -> None:
    healed = seen(way)

    assert healed.took[step] <= RECOVERY
    assert healed.right[step] == healed.found[step], "no older write stands"


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_or_done_twice_by_it(seen: Seen, way: str) -> None:
    healed = seen(way)

    assert healed.settled <= RECOVERY
    assert healed.figures.received == healed.figures.settled == healed.posted
    assert [] == healed.overlaps
    assert len(healed.right) == len(set(healed.creations)) == len(healed.creations)
    assert 0 == healed.between
