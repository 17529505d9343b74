"""Load for a long time, with faults that leave every process alive, and samples of it."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from redis import Redis

from bridge.store.accept import JOURNAL, RING
from tests.chaos.faults import FAULTS
from tests.chaos.world import World
from tests.support.stripe import Shop

SHOPS = 200
"""Customers that keep changing; the state of none may grow."""

SENDERS = 8

GENTLE = (
    "redis_forgets_scripts",
    "link_slow",
    "link_refused",
    "link_reset",
    "redis_reply_lost",
    "redis_request_lost",
    "vitally_limits",
    "vitally_fails",
    "vitally_away",
    "vitally_breaks_off",
    "vitally_lies",
    "wire_to_vitally",
)
"""Faults after which all processes are the same as before."""

FAULT_EVERY = 10.0
"""Seconds."""


class Sample(NamedTuple):
    """One look: seconds since the start, and what may not grow (bytes, keys)."""

    at: float
    web: int
    worker: int
    redis: int
    keys: int

    def __str__(self) -> str:
        sizes = (f"{n / 1e6:7.1f}" for n in (self.web, self.worker, self.redis))
        return f"{self.at:7.0f} {' '.join(sizes)} {self.keys:7}"


HEAD = "      s  web MB  wrk MB  red MB    keys"


def memory(pid: int) -> int:
    """Resident bytes of a process and all below it."""
    folder = Path(f"/proc/{pid}")
    found = folder.joinpath("statm").read_text().split()[1]
    children = folder.joinpath(f"task/{pid}/children").read_text().split()
    return int(found) * 4096 + sum(memory(int(child)) for child in children)


def sample(world: World, begun: float) -> Sample:
    """Look once."""
    redis: Redis = world.stack.redis
    return Sample(
        time.monotonic() - begun,
        sum(memory(web.running.pid) for web in world.stack.webs),
        sum(memory(running.pid) for running in world.workers),
        int(redis.info("memory")["used_memory"]),
        redis.dbsize(),
    )


class Traffic:
    """Customers who change for as long as it lasts; each one's events come in order."""

    def __init__(self, world: World, seed: int = 1) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.shops = [Shop(prefix="soak") for _ in range(SHOPS)]
        self.locks = {shop.id: threading.Lock() for shop in self.shops}
        self.mrr: dict[str, int] = {}
        self.over = threading.Event()
        for shop in self.shops:
            told = (shop.signs_up(account=shop.id), shop.begins())
            world.events = [*world.events, *told]

    def begin(self) -> None:
        """Every customer signs up; then so much that what is capped is full."""
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(self.world.post, range(len(self.world.events))))
            self.world.events, self.world.taken = [], {}
            for _ in range(0, max(RING, JOURNAL) + 1000, SHOPS):
                list(pool.map(self._change, self.shops))

    def run(self, rate: float) -> None:
        """Post *rate* changes a second until it is over, and break something now and then."""
        begun, number, broken = time.monotonic(), 0, time.monotonic()
        with ThreadPoolExecutor(SENDERS) as pool:
            while not self.over.is_set():
                pool.submit(self._change, self.shops[number % SHOPS])
                number += 1
                self.over.wait(max(0.0, begun + number / rate - time.monotonic()))
                if time.monotonic() - broken > FAULT_EVERY:
                    broken = time.monotonic()
                    self._break(pool)

    def _change(self, shop: Shop) -> None:
        """Tell one change until it is taken: only the next one may make it old."""
        with self.locks[shop.id]:
            quantity = shop.last // 60 % 97 + 1
            told = shop.changes(quantity=quantity)
            while True:
                answer = self.world.ask(lambda: self.world.stripe.post(told), "soak")
                if answer is not None and answer.status == 202:
                    self.mrr[shop.id] = 49 * quantity
                    return
                time.sleep(0.5)

    def _break(self, pool: ThreadPoolExecutor) -> None:
        fault = FAULTS[self.rng.choice(GENTLE)]
        using = fault.draw(self.rng)
        self.world.say("fault", fault=fault.name, using=using)
        fault.begin(self.world, using)
        if fault.end is not None:
            threading.Timer(using["seconds"], fault.end, (self.world, using)).start()


def overlaps(world: World) -> int:
    """Overlapping writes since the last look; the simulator's log is forgotten."""
    found = len(world.stack.overlaps())
    world.stack.vitally._traffic.forget()
    return found
