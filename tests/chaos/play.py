"""Playing a plan: each action at its time, then everything mended and brought to rest."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from redis.exceptions import RedisError

from tests.chaos.checker import Watcher, at_rest
from tests.chaos.faults import FAULTS
from tests.chaos.log import Log
from tests.chaos.plan import Action, Plan
from tests.chaos.rest import come_to_rest
from tests.chaos.world import World
from tests.support.processes import ROOT, environment
from tests.support.waiting import eventually

SENDERS = 6
"""Deliveries at once; each may wait for two seconds."""


def play(plan: Plan, folder: Path, path: Path) -> list[str]:
    """Play *plan* with its stack in *folder* and its log at *path*: what went wrong."""
    with Log(path, plan) as log:
        world = World(folder, log.saw)
        world.events = plan.events
        try:
            world.start()
            log.begun = time.monotonic()
            with Watcher(world):
                with ThreadPoolExecutor(SENDERS) as pool:
                    for action in plan.actions:
                        _wait_for(log.begun + action.at)
                        log.action(action)
                        _act(world, action, pool)
                for step in (_mend, post_the_rest, _rest, _retry_by_hand, _rest):
                    step(world)
                    log.saw(step.__name__)
            found = at_rest(world)
            log.saw("the end", problems=found, figures=world.stack.figures()._asdict())
            return world.problems + found
        finally:
            world.end()


def _wait_for(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))


def _act(world: World, action: Action, pool: ThreadPoolExecutor) -> None:
    if action.do == "post":
        pool.submit(_safely, world, action.do, world.post, action.using["event"])
        return
    fault = FAULTS[action.do.removeprefix("end ")]
    act = fault.end if action.do.startswith("end ") else fault.begin
    if fault.target == "sender":
        pool.submit(_safely, world, action.do, act, world, action.using)
    else:
        _safely(world, action.do, act, world, action.using)


def _safely(world: World, name: str, act, *args: object) -> None:
    """Act; an exception is a problem of the run and ends nothing."""
    try:
        act(*args)
    except RedisError as error:
        world.say("no redis", to=name, error=repr(error))
    except Exception as error:  # noqa: BLE001 - it must not be lost in a thread
        world.wrong(f"run: {name}: {error!r}")


def _mend(world: World) -> None:
    """Take every fault away that is left."""
    for proxy in (*world.links.values(), world.vitally):
        proxy.mend()
    world.stack.vitally.mend()
    world.disturb()
    eventually(lambda: all(w.get("/readyz")[0] == 200 for w in world.stack.webs), 20)


def post_the_rest(world: World) -> None:
    """Deliver again what was refused, and at last every event that never came."""

    def all_taken() -> bool:
        with world.lock:
            again, world.refused = world.refused, []
        for number in again:
            world.post(number)
        return not world.refused

    eventually(all_taken, 30, what="a 2xx for every event")


def _rest(world: World) -> None:
    come_to_rest(world.stack, 60)


def _retry_by_hand(world: World) -> None:
    """What Vitally refused is tried again with the command that the one on call has."""
    for _ in range(3):
        if not world.stack.figures().parked_parties:
            return
        command = [sys.executable, "-m", "bridge", "retry", "--parked"]
        environ = environment(world.stack.environ)
        subprocess.run(command, env=environ, cwd=ROOT, check=True, capture_output=True)
        come_to_rest(world.stack, 60)
