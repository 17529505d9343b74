"""The steps of a job, in order, and what a proxy holds to stop a worker in each.

A worker that waits for an answer that does not come stands exactly there; nothing in
the worker knows of it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha1
from typing import NamedTuple

from bridge.store.connect import load
from tests.support.processes import Running
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


def script(name: str, *behind: bytes) -> bytes:
    """A pattern of the call of a script, and of what its arguments hold, in order."""
    return b".*".join((sha1(load(name).encode()).hexdigest().encode(), *behind))


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
    the job meanwhile, for the account is leased.
    """

    name: str
    pattern: bytes
    act: Act
    vitally: bool = False
    new: bool = False
    owned: bool = True


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

NAMES = [step.name for step in STEPS]


class Victim:
    """A worker behind proxies of its own, which pops nothing before it is let.

    *shop* is the customer with whose job it is caught.
    """

    def __init__(self, stack: Stack, step: Step, shop: Shop, ending: ExitStack) -> None:
        self.step = step
        self.shop = shop
        self.redis = ending.enter_context(Proxy(stack.redis_server.port, resp))
        port = int(stack.vitally.url.rpartition(":")[2])
        self.vitally = ending.enter_context(Proxy(port, http))
        self.gate = self.redis.on(POP, HOLD_REQUEST, times=None)
        self.running: Running = stack.worker(
            REDIS_URL=f"redis://{HERE}:{self.redis.port}/0",
            VITALLY_BASE_URL=f"http://{HERE}:{self.vitally.port}",
        )

    def catch(self, stripe: Stripe) -> None:
        """Give it its job, wait until it stands in its step, and stop its clock."""
        told = self.shop.signs_up() if self.step.new else self.shop.begins()
        assert 202 == stripe.post(told).status
        proxy = self.vitally if self.step.vitally else self.redis
        self.rule = proxy.on(self.step.pattern, self.step.act)
        self.gate.release()
        assert self.rule.caught.wait(10), f"no worker came to: {self.step.name}"
        os.kill(self.running.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let arrive what was held, and the worker go on with it."""
        self.rule.release()
        assert self.rule.passed.wait(4), f"still held: {self.step.name}"
        os.kill(self.running.pid, signal.SIGCONT)


@contextmanager
def caught(stack: Stack, steps: Sequence[Step] = STEPS) -> Iterator[list[Victim]]:
    """A worker stopped in each of *steps*, and no other worker."""
    stack.web()
    first = stack.worker()
    stripe = stack.ready().stripe()
    shops = [Shop() for _ in steps]
    for step, shop in zip(steps, shops, strict=True):
        if not step.new:
            stripe.post(shop.signs_up())
    stack.settled()
    assert 0 == first.terminate()
    with ExitStack() as ending:
        victims = [
            Victim(stack, step, shop, ending)
            for step, shop in zip(steps, shops, strict=True)
        ]
        for victim in victims:
            assert victim.gate.caught.wait(30), "a worker starts"
        # A job that nobody owns is soon given to another: those come last, and at the
        # very end the one that stays in the list, where the next would pop it.
        for victim in sorted(victims, key=lambda v: v.step.owned)[::-1]:
            victim.catch(stripe)
        yield victims
        for victim in victims:
            victim.running.kill()
