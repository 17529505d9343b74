"""An hour of load: every account is right in the end, and nothing has grown.

`make soak` takes MINUTES=60 RATE=50; ten minutes are the least that says anything.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

from bridge.store.accept import JOURNAL, RING
from tests.chaos.faults import FAULTS
from tests.chaos.world import World, come_to_rest
from tests.support.stripe import Shop

MINUTES = float(os.environ.get("SOAK_MINUTES", "60"))
RATE = float(os.environ.get("SOAK_RATE", "50"))
EVERY = float(os.environ.get("SOAK_EVERY", "60"))
"""Seconds between two samples."""

WARM = 0.2
"""Part of the time that is no part of what is judged."""

MOST = {"web": 0.03, "worker": 0.03, "redis": 0.03, "keys": 0.02}
"""What each may have grown by after the warm-up, in terms of its level."""

SHOPS = 200
"""Customers that keep changing; the state of none may grow."""

SENDERS = 8

FAULT_EVERY = 10.0
"""Seconds."""

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


class Growth(NamedTuple):
    """A series after its warm-up: from its *level* it has grown by *by* in all."""

    level: float
    by: float

    @property
    def share(self) -> float:
        """Growth in terms of the level."""
        return self.by / self.level if self.level else 0.0


def growth(instants: Sequence[float], values: Sequence[float]) -> Growth:
    """Fit a line that a few odd samples cannot move (Theil and Sen)."""
    pairs = combinations(zip(instants, values, strict=True), 2)
    slope = median((v2 - v1) / (t2 - t1) for (t1, v1), (t2, v2) in pairs)
    return Growth(median(values), slope * (instants[-1] - instants[0]))


def memory(pid: int) -> int:
    """Resident bytes of a process and all below it."""
    folder = Path(f"/proc/{pid}")
    pages = folder.joinpath("statm").read_text().split()[1]
    children = folder.joinpath(f"task/{pid}/children").read_text().split()
    return int(pages) * 4096 + sum(memory(int(child)) for child in children)


def sample(world: World) -> dict[str, int]:
    """What may not grow: bytes, and the number of keys."""
    return {
        "web": sum(memory(web.running.pid) for web in world.stack.webs),
        "worker": sum(memory(running.pid) for running in world.workers),
        "redis": int(world.stack.redis.info("memory")["used_memory"]),
        "keys": world.stack.redis.dbsize(),
    }


class Traffic:
    """Customers who change for as long as it lasts; each one's events come in order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = random.Random(1)
        self.shops = [Shop(prefix="soak") for _ in range(SHOPS)]
        self.locks = {shop.id: threading.Lock() for shop in self.shops}
        self.mrr: dict[str, int] = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def begin(self) -> None:
        """Every customer signs up; then so much that what is capped is full."""
        self.world.events = [
            event
            for s in self.shops
            for event in (s.signs_up(account=s.id), s.begins())
        ]
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(self.world.post, range(len(self.world.events))))
            self.world.events, self.world.taken = [], {}
            for _ in range(0, max(RING, JOURNAL) + 1000, SHOPS):
                list(pool.map(self.change, self.shops))

    def run(self) -> None:
        """Post changes until it is over, and break something now and then."""
        begun, number, broken = time.monotonic(), 0, time.monotonic()
        with ThreadPoolExecutor(SENDERS) as pool:
            while not self.over.is_set():
                pool.submit(self.change, self.shops[number % SHOPS])
                number += 1
                self.over.wait(max(0.0, begun + number / RATE - time.monotonic()))
                if time.monotonic() - broken > FAULT_EVERY:
                    broken = time.monotonic()
                    self.hurt()

    def change(self, shop: Shop) -> None:
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

    def hurt(self) -> None:
        fault = FAULTS[self.rng.choice(GENTLE)]
        using = fault.draw(self.rng)
        playing = fault.play(self.world, **using)
        if playing is not None:
            next(playing)
            threading.Timer(using["seconds"], next, (playing, None)).start()


def sampled(world: World, say: Callable[..., None]) -> dict[float, dict[str, int]]:
    """A sample every so often until the time is over, by its second; each is shown."""
    begun, samples = time.monotonic(), {}
    say("\nseconds", *MOST)
    while (at := time.monotonic() - begun) < MINUTES * 60:
        samples[at] = sample(world)
        say(round(at), *samples[at].values())
        assert [] == world.stack.overlaps()
        world.stack.vitally.forget()
        time.sleep(EVERY)
    return samples


@pytest.mark.soak
def test_after_hours_of_load_all_is_right_and_nothing_has_grown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(*cells: object) -> None:
        with capsys.disabled():
            sys.stdout.write(" ".join(f"{cell!s:>12}" for cell in cells) + "\n")
            sys.stdout.flush()

    with World(tmp_path, limit=1_000_000) as world:
        traffic = Traffic(world)
        traffic.begin()
        with traffic:
            samples = sampled(world, say)
        judged = list(samples)[int(len(samples) * WARM) :]
        found = {n: growth(judged, [samples[at][n] for at in judged]) for n in MOST}
        say("grew by", *(f"{one.share:+.2%}" for one in found.values()))
        world.mend()
        come_to_rest(world.stack, 120)
        accounts = {
            a["externalId"]: a["traits"] for a in world.stack.vitally.accounts()
        }

        assert traffic.mrr == {id_: accounts[id_].get("mrr") for id_ in traffic.mrr}
        assert [] == world.problems
        assert {} == {name: g for name, g in found.items() if g.share > MOST[name]}


def test_a_slope_is_not_moved_by_a_few_odd_samples() -> None:
    at = list(range(20))
    flat = [100.0 + n % 2 for n in at]
    odd = [*flat[:10], 500.0, *flat[11:15], 0.0, *flat[16:]]
    rising = [100.0 + 2 * n + 5 * (n % 3) for n in at]

    assert abs(growth(at, flat).share) < 0.01
    assert abs(growth(at, odd).share) < 0.02
    assert growth(at, rising).share > 0.25
