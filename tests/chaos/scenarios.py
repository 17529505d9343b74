"""A short life for each way in which a build may be broken: it hurts there and nowhere.

Each plays with a world until it is at rest, or until it is clear that it never will be,
and returns what the checker finds.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tests.chaos.checker import at_rest, budget
from tests.chaos.play import post_the_rest
from tests.chaos.rest import come_to_rest
from tests.chaos.steps import POP, UNCONFIRMED, UPDATE
from tests.chaos.world import World
from tests.support.proxy import HOLD_LATE, HOLD_REPLY, LOSE_REQUEST
from tests.support.stripe import Shop
from tests.support.waiting import eventually

PATIENCE = 25.0
"""Seconds until a healthy build is at rest again, with a margin."""


class Life:
    """Customers of one world, and posting what becomes of them."""

    def __init__(self, world: World) -> None:
        self.world = world

    def tell(self, event: Mapping[str, Any]) -> None:
        """Post an event once."""
        self.world.events = [*self.world.events, event]
        self.world.post(len(self.world.events) - 1)

    def customer(self, account: str) -> Shop:
        """A new customer of this account, told and written."""
        shop = self.signed_up(account)
        come_to_rest(self.world.stack)
        return shop

    def signed_up(self, account: str) -> Shop:
        """A new customer of this account, told."""
        shop = Shop()
        self.tell(shop.signs_up(account=account))
        return shop


def _written(world: World) -> list[Any]:
    """The `mrr` of all writes, in order."""
    return [e["body"]["traits"].get("mrr") for e in world.stack.vitally.writes()]


def _checked(world: World) -> list[str]:
    try:
        come_to_rest(world.stack, PATIENCE)
    except AssertionError:
        world.wrong("I6: it does not come to rest")
    return world.problems + at_rest(world)


def two_writers(world: World) -> list[str]:
    """Two customers of one account change while a write of it is on its way."""
    life = Life(world)
    shops = [life.customer("acme"), life.customer("acme")]
    slow = {"kind": "delay", "seconds": 2, "match": {"method": "PUT"}}
    world.stack.vitally.break_with([slow])
    life.tell(shops[0].begins())
    eventually(lambda: world.stack.vitally.writes()[-1]["ended"] is None)
    life.tell(shops[1].begins())
    return _checked(world)


def lost_job(world: World) -> list[str]:
    """A worker dies right after the pop."""
    life = Life(world)
    shop = life.customer("acme")
    popped = world.links["worker"].on(POP, HOLD_REPLY)
    life.tell(shop.begins())
    assert popped.caught.wait(10)
    eventually(lambda: world.stack.redis.llen("rq:queue:bridge") == 0)
    world.workers[0].kill()
    world.new_worker(0)
    return _checked(world)


def back_again(world: World) -> list[str]:
    """A write is done and never confirmed; then all is as it was before."""
    life = Life(world)
    shop = life.customer("acme")
    life.tell(shop.begins())
    come_to_rest(world.stack)
    done = world.vitally.on(UPDATE, HOLD_REPLY)
    life.tell(shop.changes(quantity=2))
    assert done.caught.wait(10)
    life.tell(shop.changes(quantity=1))
    world.vitally.reset()
    return _checked(world)


def lost_request(world: World) -> list[str]:
    """Redis is cut off in the middle of a delivery; the sender sends it again."""
    life = Life(world)
    shop = life.customer("acme")
    world.links["web"].on(b"EVALSHA", LOSE_REQUEST)
    life.tell(shop.begins())
    post_the_rest(world)
    return _checked(world)


def crowd(world: World) -> list[str]:
    """More customers than the budget of a minute has writes for."""
    world.limit = 400
    world.stack.vitally.turn(rate_limit=world.limit)
    time.sleep(1)
    life = Life(world)
    for number in range(40):
        life.signed_up(f"acme-{number}")
    eventually(lambda: len(world.stack.vitally.writes()) >= 30, 20)
    time.sleep(3)
    return world.problems + list(budget(world))


def late_write(world: World) -> list[str]:
    """A worker dies; what it has sent arrives after a newer write."""
    life = Life(world)
    shop = life.customer("acme")
    sent = world.vitally.on(UPDATE, HOLD_LATE)
    life.tell(shop.begins())
    assert sent.caught.wait(10)
    world.workers[0].kill()
    life.tell(shop.changes(quantity=2))
    world.new_worker(0)
    eventually(world.stack.has("acme", mrr=98), PATIENCE)
    sent.release()
    eventually(world.stack.has("acme", mrr=49), 5)
    return _checked(world)


def sleeper(world: World) -> list[str]:
    """A worker sleeps right before its write, and wakes after all was at rest."""
    life = Life(world)
    shop = life.customer("acme")
    doubtful = world.links["worker"].on(UNCONFIRMED, HOLD_REPLY)
    life.tell(shop.begins())
    assert doubtful.caught.wait(10)
    os.kill(world.workers[0].pid, signal.SIGSTOP)
    life.tell(shop.changes(quantity=2))
    world.new_worker(0)
    come_to_rest(world.stack, PATIENCE)
    doubtful.release()
    assert doubtful.passed.wait(4)
    os.kill(world.workers[0].pid, signal.SIGCONT)
    eventually(lambda: 49 in _written(world), 10)
    return _checked(world)


def delivery(world: World) -> list[str]:
    """One event."""
    Life(world).customer("acme")
    return _checked(world)


SCENARIOS: Mapping[str, tuple[Callable[[World], list[str]], str]] = {
    "no_lease": (two_writers, "I3"),
    "no_sweep": (lost_job, "I6"),
    "difference_after_doubt": (back_again, "I2"),
    "dedupe_first": (lost_request, "I1"),
    "no_throttle": (crowd, "I4"),
    "no_second_look": (late_write, "I2"),
    "lost_leases_forgotten": (sleeper, "I2"),
    "talkative": (delivery, "I8"),
}
"""Variant -> the scenario in which it hurts, and the invariant that it breaks."""

WORKERS: Mapping[str, tuple[int, ...]] = {"no_lease": (1, 1)}
"""Lines of workers, where one is not enough."""

worlds = partial(World, say=lambda *_, **__: None)
