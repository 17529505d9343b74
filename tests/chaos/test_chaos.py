"""Kills, stalls and lies, drawn from a seed: whatever was answered 2xx is right.

`make chaos SEED=7 SECONDS=60` plays a seed; the same seed and seconds are the same plan.
CHAOS_FAULTS=worker_killed,link_reset leaves the others out, to find the few that matter.
"""

from __future__ import annotations

import inspect
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
import pytest
from redis.exceptions import RedisError

from tests.chaos.checker import Watcher, at_rest
from tests.chaos.faults import FAULTS
from tests.chaos.world import World, come_to_rest
from tests.support.processes import ROOT, environment
from tests.support.stripe import ON_ITEMS, ON_SUBSCRIPTION, YEARLY, Shop

SECONDS = float(os.environ.get("CHAOS_SECONDS", "25"))
SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEED", "1").split(",")]
CHOSEN = [name for name in os.environ.get("CHAOS_FAULTS", "").split(",") if name]

SHOPS = 14
BURST = 60
"""Events of the hot customer that come at once."""

EVENTS_A_SECOND = 6
SENDERS = 6
"""Deliveries at once; each may wait for two seconds."""

REST = 2.0
"""Seconds at the end in which nothing new breaks."""

LONGEST_GAP = 1.5
"""Seconds between two faults, at most."""


class Action(NamedTuple):
    """What to do *at* seconds from the start: `post` an event, a fault, or its `end`."""

    at: float
    do: str
    using: Mapping[str, Any]


class Plan(NamedTuple):
    """A whole run; an action names an event by its place. Playing it asks no chance."""

    events: Sequence[Mapping[str, Any]]
    actions: Sequence[Action]


def draw(seed: int, seconds: float, names: Sequence[str] = ()) -> Plan:
    """Draw a run: every fault comes once before one comes again."""
    rng = random.Random(seed)
    hot = Shop(prefix="hot")
    hot.id = f"hot_{seed}"
    events = [hot.signs_up("Hot Example", "acct-hot"), hot.begins()]
    burst = [hot.changes(quantity=n, seconds=n % 2) for n in range(1, BURST + 1)]
    changes = max(2, round(seconds * EVENTS_A_SECOND / SHOPS) - 6)
    for number in range(SHOPS):
        events += life(rng, f"chaos_{seed}_{number}", number, changes)
    order = list(range(len(events)))
    rng.shuffle(order)
    order += rng.sample(order, len(order) // 5)
    posts = [
        Action(seconds * place / len(order), "post", {"number": event})
        for place, event in enumerate(order)
    ]
    dealt = deal(rng, seconds, names or list(FAULTS))
    return Plan(events + burst, sorted([*posts, *dealt], key=lambda action: action.at))


def life(rng: random.Random, id_: str, number: int, changes: int) -> list[Any]:
    """A life of one customer; some share an account, one moves, one has none."""
    shop = Shop((ON_ITEMS, ON_SUBSCRIPTION)[number % 2])
    shop.id = id_
    account = f"acct-{id_}" if number % 5 else f"acct-{id_.rpartition('_')[0]}-shared"
    name = f"Example {number}"
    told = [shop.signs_up(name, "" if number == 1 else account)]
    told += [shop.begins("1", status="trialing"), shop.changes("1", status="active")]
    told.append(shop.begins("2", YEARLY))
    for _ in range(rng.randint(changes // 2, changes * 3 // 2)):
        quantity, same = rng.randint(1, 9), rng.choice((0, 60))
        told.append(shop.changes("1", quantity=quantity, seconds=same))
    if number == 2:
        moved = {"account": f"{account}-moved"}
        told.append(shop.is_changed(metadata=moved))
    if rng.random() < 0.5:
        told += [shop.ends("1"), shop.changes("2", status="past_due")]
    if rng.random() < 0.3:
        told.append(shop.ends("2"))
    return told


def deal(rng: random.Random, seconds: float, names: Sequence[str]) -> Iterator[Action]:
    """Deal the faults like a deck; one at a time to each target."""
    gap = min(LONGEST_GAP, (seconds - REST - 1) / len(names))
    busy: dict[str, float] = {}
    deck: list[str] = []
    for turn in range(int((seconds - REST - 1) / gap)):
        at = 1 + turn * gap
        deck = deck or rng.sample(names, len(names))
        free = (n for n in deck if busy.get(FAULTS[n].target, 0) <= at)
        if (name := next(free, None)) is None:
            continue
        deck.remove(name)
        fault = FAULTS[name]
        using = fault.draw(rng)
        end = at + using.get("seconds", 0)
        busy[fault.target] = end + fault.calm
        yield Action(at, name, using)
        if "seconds" in using:
            yield Action(end, f"end {name}", {})


class Log:
    """A line of JSON for each thing that happened; threads may share it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.lock = threading.Lock()
        self.begun = time.monotonic()

    def __call__(self, what: str, **more: Any) -> None:
        at = round(time.monotonic() - self.begun, 3)
        with self.lock:
            self.file.write(orjson.dumps({"at": at, "saw": what} | more, default=str))
            self.file.write(b"\n")
            self.file.flush()


class Player:
    """Does the actions of a plan, each at its time."""

    def __init__(self, world: World, pool: ThreadPoolExecutor) -> None:
        self.world = world
        self.pool = pool
        self.open: dict[str, Generator[None]] = {}

    def play(self, actions: Sequence[Action]) -> None:
        begun = time.monotonic()
        for action in actions:
            time.sleep(max(0.0, begun + action.at - time.monotonic()))
            self.world.say("action", do=action.do, using=action.using)
            if action.do == "post":
                self.pool.submit(self.safely, "post", self.world.post, **action.using)
            elif action.do.startswith("end "):
                name = action.do.removeprefix("end ")
                if name in self.open:
                    self.safely(action.do, next, self.open.pop(name), None)
            elif FAULTS[action.do].target == "sender":
                self.pool.submit(self.safely, action.do, self.begin, action)
            else:
                self.safely(action.do, self.begin, action)

    def begin(self, action: Action) -> None:
        play = FAULTS[action.do].play(self.world, **action.using)
        if inspect.isgenerator(play):
            self.open[action.do] = play
            next(play)

    def safely(
        self, name: str, act: Callable[..., Any], *args: Any, **using: Any
    ) -> None:
        """Act; an exception is a problem of the run and ends nothing."""
        try:
            act(*args, **using)
        except RedisError as error:
            self.world.say("no redis", to=name, error=repr(error))
        except Exception as error:  # noqa: BLE001 - it must not be lost in a thread
            self.world.wrong(f"run: {name}: {error!r}")


def retry_by_hand(world: World) -> None:
    """What Vitally refused is tried again with the command that the one on call has."""
    for _ in range(3):
        if not world.stack.figures().parked_parties:
            return
        command = [sys.executable, "-m", "bridge", "retry", "--parked"]
        environ = environment(world.stack.environ)
        subprocess.run(command, env=environ, cwd=ROOT, check=True, capture_output=True)
        come_to_rest(world.stack, 60)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_breaks_nothing_that_was_taken_is_lost(
    seed: int,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = draw(seed, SECONDS, CHOSEN)
    path = pytestconfig.cache.mkdir("chaos") / f"seed-{seed}.jsonl"
    with capsys.disabled():
        sys.stdout.write(f"\nchaos: seed {seed}, {SECONDS:g} s, {path} ")
    with path.open("wb") as file, World(tmp_path, Log(file)) as world:
        world.events, world.burst = plan.events, BURST
        with Watcher(world):
            with ThreadPoolExecutor(SENDERS) as pool:
                Player(world, pool).play(plan.actions)
            world.mend()
            world.post_the_rest()
            come_to_rest(world.stack, 60)
            retry_by_hand(world)
        found = world.problems + at_rest(world)
        world.say("the end", problems=found, figures=world.stack.figures()._asdict())

    assert [] == found


def test_a_seed_is_a_plan_and_nothing_else() -> None:
    assert draw(7, 25) == draw(7, 25)
    assert draw(7, 25) != draw(8, 25)


def test_a_few_short_runs_play_every_fault() -> None:
    played = {action.do for seed in (1, 2) for action in draw(seed, 25).actions}

    assert set() == FAULTS.keys() - played
