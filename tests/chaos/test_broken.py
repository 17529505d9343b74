"""The test of the test: each broken build goes red where the real one is green.

A scenario is a short life for one way in which a build may be broken: it hurts there
and nowhere. It is played until all is at rest, or will clearly never be.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.broken import VARIANTS
from tests.chaos.checker import at_rest, budget
from tests.chaos.test_kill_matrix import POP, UNCONFIRMED, UPDATE
from tests.chaos.world import LIMIT, World, come_to_rest
from tests.support.proxy import HOLD_LATE, HOLD_REPLY, LOSE_REQUEST, Rule
from tests.support.stripe import Shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.broken

PATIENCE = 25.0
"""Seconds until a healthy build is at rest again, with a margin."""


def customer(world: World, account: str = "acme") -> Shop:
    """A new customer of this account, told and written."""
    shop = Shop()
    world.tell(shop.signs_up(account=account))
    come_to_rest(world.stack)
    return shop


def changes_until(world: World, shop: Shop, rule: Rule) -> None:
    """Tell that *shop* begins; wait until the worker is held by *rule*."""
    world.tell(shop.begins())
    assert rule.caught.wait(10)


def two_writers(world: World) -> None:
    """Two customers of one account change while a write of it is on its way."""
    shops = [customer(world), customer(world)]
    slow = {"kind": "delay", "seconds": 2, "match": {"method": "PUT"}}
    world.stack.vitally.break_with([slow])
    world.tell(shops[0].begins())
    eventually(lambda: world.stack.vitally.writes()[-1]["ended"] is None)
    world.tell(shops[1].begins())


def lost_job(world: World) -> None:
    """A worker dies right after the pop."""
    shop = customer(world)
    changes_until(world, shop, world.links["worker"].on(POP, HOLD_REPLY))
    eventually(lambda: world.stack.redis.llen("rq:queue:bridge") == 0)
    world.workers[0].kill()
    world.new_worker()


def back_again(world: World) -> None:
    """A write is done and never confirmed; then all is as it was before."""
    shop = customer(world)
    world.tell(shop.begins())
    come_to_rest(world.stack)
    done = world.vitally.on(UPDATE, HOLD_REPLY)
    world.tell(shop.changes(quantity=2))
    assert done.caught.wait(10)
    world.tell(shop.changes(quantity=1))
    world.vitally.reset()


def lost_request(world: World) -> None:
    """Redis is cut off in the middle of a delivery; the sender sends it again."""
    shop = customer(world)
    world.links["web"].on(b"EVALSHA", LOSE_REQUEST)
    world.tell(shop.begins())
    world.post_the_rest()


def crowd(world: World) -> None:
    """More customers than the budget of a minute has writes for."""
    for number in range(40):
        world.tell(Shop().signs_up(account=f"acme-{number}"))
    eventually(lambda: len(world.stack.vitally.writes()) >= 30, 20)
    time.sleep(3)


def late_write(world: World) -> None:
    """A worker dies; what it has sent arrives after a newer write."""
    shop = customer(world)
    sent = world.vitally.on(UPDATE, HOLD_LATE)
    changes_until(world, shop, sent)
    world.workers[0].kill()
    world.tell(shop.changes(quantity=2))
    world.new_worker()
    eventually(world.stack.has("acme", mrr=98), PATIENCE)
    sent.release()
    eventually(world.stack.has("acme", mrr=49), 5)


def sleeper(world: World) -> None:
    """A worker sleeps right before its write, and wakes after all was at rest."""
    shop = customer(world)
    doubtful = world.links["worker"].on(UNCONFIRMED, HOLD_REPLY)
    changes_until(world, shop, doubtful)
    os.kill(world.workers[0].pid, signal.SIGSTOP)
    world.tell(shop.changes(quantity=2))
    world.new_worker()
    come_to_rest(world.stack, PATIENCE)
    doubtful.release()
    assert doubtful.passed.wait(4)
    os.kill(world.workers[0].pid, signal.SIGCONT)
    writes = world.stack.vitally.writes
    eventually(lambda: any(e["body"]["traits"].get("mrr") == 49 for e in writes()), 10)


def delivery(world: World) -> None:
    """One event."""
    customer(world)


SCENARIOS = {
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


def played(folder: Path, name: str, variant: str) -> set[str]:
    """The invariants that *variant* breaks in the scenario of *name*."""
    scenario, _ = SCENARIOS[name]
    processes = (1, 1) if scenario is two_writers else (1,)
    limit = 400 if scenario is crowd else LIMIT
    with World(folder, processes=processes, variant=variant, limit=limit) as world:
        scenario(world)
        if scenario is crowd:
            return {found[:2] for found in [*world.problems, *budget(world)]}
        try:
            come_to_rest(world.stack, PATIENCE)
        except AssertionError:
            world.wrong("I6: it does not come to rest")
        return {found[:2] for found in [*world.problems, *at_rest(world)]}


def test_every_variant_has_its_scenario() -> None:
    assert VARIANTS.keys() == SCENARIOS.keys()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_broken_build_is_noticed(tmp_path: Path, name: str) -> None:
    assert SCENARIOS[name][1] in played(tmp_path, name, name)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_real_build_passes_the_same(tmp_path: Path, name: str) -> None:
    assert set() == played(tmp_path, name, "")
