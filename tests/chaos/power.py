"""The machine of Redis loses power: the end of its append-only file is gone.

`make power SEEDS=100` plays seeds, one after another, on one running bridge. Events of
lives that go on flow in. Redis is killed, its file is cut, and it starts again. Then every
event that was answered 2xx has to be in Vitally within `BAR` seconds. What is cut is drawn
from the seed; what falls into it is up to the machine. Where neither the source's list nor
`BRIDGE_DURABILITY=fsync` protects the events, some have to be lost: else the cut is no cut.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from redis.exceptions import RedisError
from urllib3.exceptions import HTTPError

from bridge.store import keys
from bridge.store.complete import Completeness
from tests.chaos.checker import adds_up, kept, traits
from tests.support.local_stripe import KEY, LocalStripe
from tests.support.server import RedisServer
from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually

BAR = 60.0
"""Seconds from Redis' start until all is right."""

SHORT = 12.0
"""The same where nothing is expected to come back."""

LOST = 2.0
"""Seconds of the file that are gone; `everysec` loses at most so much."""

AGAIN = 0.1
"""Seconds until the sender repeats what was not answered 2xx."""

SHOPS, OLDEST = 12, 3
"""Customers of a seed, half of them new; seeds after which one is let alone."""

SLOW = 0.3
"""How often a request is on its way to Vitally for seconds."""

PIECE = 400
"""Most bytes of a command that is cut in two."""

NEAR = 4_000_000
"""Bytes at the end of what is left in which the events of a seed are looked for."""


class Tail:
    """Knows how long Redis' append-only file was when; runs inside `with`."""

    def __init__(self, server: RedisServer, every: float = 0.01) -> None:
        self._folder, self._every = server.folder / "appendonlydir", every
        self._sizes: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def file(self) -> Path:
        """The file that Redis appends to."""
        return max(
            self._folder.glob("*.incr.aof"), key=lambda file: file.stat().st_mtime
        )

    def length(self, at: float) -> int:
        """How long it was at an instant (seconds since the epoch)."""
        return max((size for then, size in self._sizes if then <= at), default=0)

    def after(self, at: float) -> int:
        """How long it was just after that."""
        return min(size for then, size in self._sizes if then >= at)

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            self._sizes.append((time.time(), self.file.stat().st_size))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


class Disk:
    """Knows what is surely on the disk: it sees each fsync of Redis, with `strace`."""

    LINE = re.compile(r"([\d.]+) (<\.\.\. )?fdatasync.* = 0 <([\d.]+)>")

    def __init__(self, server: RedisServer, tail: Tail) -> None:
        self._tail, self._log = tail, server.folder / "fsyncs.log"
        flags = ("-f", "-ttt", "-T", "-e", "trace=fdatasync", "-o", str(self._log))
        self._running = subprocess.Popen(["strace", *flags, "-p", str(server.pid)])

    def length(self) -> int:
        """How long the file was when its last whole fsync began, after Redis' end."""
        self._running.wait()
        done = self.LINE.findall(self._log.read_text(encoding="ascii"))
        # Of one that was resumed the time of its end is told.
        begun = [float(at) - float(took) * bool(end) for at, end, took in done]
        return self._tail.after(max(begun))


class Round(NamedTuple):
    """What a seed came to.

    Events that were *answered* 2xx, those of them that were *cut* off, how many were
    *healed* from the source's list, *seconds* until all was right, and what is *wrong*.
    """

    seed: int
    answered: int
    cut: int
    healed: int
    seconds: float
    wrong: Sequence[str]

    @property
    def lost(self) -> int:
        """Customers with events that are gone."""
        return sum(found.startswith("I1") for found in self.wrong)


class Power:
    """A bridge, its sender, and its Redis whose power fails; runs inside `with`.

    *listed*: it has the key of the source's API. *fsync*: it answers only once the disk
    has the event, and just what the disk does not have is cut.
    """

    def __init__(
        self,
        folder: Path,
        *,
        listed: bool = True,
        fsync: bool = False,
        workers: int = 1,
    ) -> None:
        self.api = LocalStripe()
        more: dict[str, object] = {"STRIPE_API_KEY": KEY} if listed else {}
        self.stack = Stack(
            folder,
            STRIPE_ACCOUNT_ID_KEY="account",
            STRIPE_API_BASE=self.api.url,
            BRIDGE_DURABILITY="fsync" if fsync else "redis",
            BRIDGE_MASS_ACCOUNTS=1_000_000,
            WORKER_PROCESSES=workers,
            **more,
        )
        self.listed, self.fsync, self.safe = listed, fsync, listed or fsync
        self.taken: dict[str, Mapping[str, Any]] = {}
        self.shops: list[tuple[int, Shop]] = []
        self._pool = ThreadPoolExecutor(48)
        self._sent: list[Future[None]] = []
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.api.__enter__()
        self.stack.web()
        self.stack.worker()
        self.stripe = self.stack.ready().stripe()
        if self.listed:
            eventually(lambda: self.stack.redis.exists(keys.COMPLETE))
            time.sleep(LOST)  # that, too, has to be on the disk
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.stack.__exit__()
        self.api.__exit__()
        self._pool.shutdown()

    def play(self, seed: int) -> Round:
        """Let events flow, the power fail and all become right again."""
        rng, before = random.Random(seed), len(self.taken)
        self.shops = [(of, shop) for of, shop in self.shops if seed - of < OLDEST]
        rng.shuffle(self.shops)
        self.shops = self.shops[: SHOPS // 2]
        self.shops += [(seed, Shop()) for _ in range(SHOPS - len(self.shops))]
        self._sent.clear()
        with Tail(self.stack.redis_server) as tail:
            disk = Disk(self.stack.redis_server, tail) if self.fsync else None
            self._flow(rng, rng.uniform(2.2, 3.2))
            if rng.random() < SLOW:  # a write is on its way when the power fails
                self.stack.vitally.break_with([{"kind": "delay", "seconds": 3}])
            self._flow(rng, 0.3)
            killed = time.time()
            self.stack.redis_server.kill()
        answered = [*self.taken]
        end = disk.length() if disk else tail.length(killed - LOST)
        self._flow(rng, rng.uniform(0.1, 0.6))
        piece = 0 if self.fsync else rng.randrange(PIECE)
        cut = self._cut(tail.file, end + piece, answered)
        self.stack.redis_server.restart()
        begun, known = time.monotonic(), self._healed()
        self._flow(rng, 1.2)
        wrong: list[str] = []

        def is_right() -> bool:
            wrong[:] = self.wrong()
            return not wrong

        with suppress(AssertionError):
            # Where nothing brings them back there is nothing to wait for.
            eventually(is_right, BAR if self.safe else SHORT)
        took = time.monotonic() - begun
        healed = self._healed() - known
        return Round(seed, len(self.taken) - before, cut, healed, took, wrong)

    def wrong(self) -> list[str]:
        """What is not yet as it has to be, of the customers of this seed."""
        if not all(sent.done() for sent in self._sent):
            return ["not every event was answered 2xx"]
        with suppress(RedisError):
            seen = self.stack.figures()
            if not (seen.dirty or seen.pending):
                told = [*self._of({shop.id for _, shop in self.shops})]
                lost = kept(self.stack, told)
                return [*lost, *traits(self.stack, told), *adds_up(seen)]
        return ["there is something to do"]

    def rest(self) -> list[str]:
        """What is wrong at the end, with everything that ever happened."""
        self.shops = []
        eventually(lambda: not self.wrong(), BAR)
        made = self.stack.creations()
        twice = sorted({one for one in made if made.count(one) > 1})
        overlaps = [f"I3: writes overlap: {one}" for one in self.stack.overlaps()]
        doubled = [f"I3: created twice: {one}" for one in twice]
        told = [*self.taken.values()]
        lost = [*kept(self.stack, told), *traits(self.stack, told)]
        return [*lost, *overlaps, *doubled]

    def _of(self, ours: set[str]) -> Iterator[Mapping[str, Any]]:
        for event in list(self.taken.values()):
            thing = event["data"]["object"]
            if thing.get("customer", thing["id"]) in ours:
                yield event

    def _flow(self, rng: random.Random, seconds: float) -> None:
        """Let events happen for so long: one of each customer a second."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _, shop = rng.choice(self.shops)
            if shop.last < int(time.time()):
                event = happens(shop, rng)
                self.api.put(event, event["data"]["object"])
                self._sent.append(self._pool.submit(self._deliver, event))
            self._over.wait(0.02)

    def _deliver(self, event: Mapping[str, Any]) -> None:
        """Send an event until it is answered 2xx."""
        while not self._over.is_set():
            with suppress(HTTPError):
                if self.stripe.post(event).status == 202:
                    self.taken[event["id"]] = event
                    return
            self._over.wait(AGAIN)

    def _cut(self, file: Path, length: int, answered: Sequence[str]) -> int:
        """Cut the file; return how many of the events that were *answered* are gone."""
        whole = file.read_bytes()
        file.write_bytes(whole[:length])
        before, left = whole[-NEAR:], whole[:length][-NEAR:]
        ours = [name.encode() for name in answered[-SHOPS * 10 :]]
        return sum(name in before and name not in left for name in ours)

    def _healed(self) -> int:
        checkpoints = Completeness(self.stack.redis).read()[0]
        return sum(checkpoint.total for checkpoint in checkpoints.values())


def happens(shop: Shop, rng: random.Random) -> Mapping[str, Any]:
    """What happens next to a customer, now: more, less, and often back again."""
    is_new = shop.last < time.time() - 10_000
    shop.last = int(time.time()) - 60
    if is_new:
        return shop.signs_up(account=f"acct-{shop.id}")
    if not shop.has():
        return shop.begins()
    if rng.random() < 0.1:
        return shop.is_changed(name=f"Example {rng.randrange(9)}")
    if rng.random() < 0.1:
        return shop.changes(cancel_at=shop.last + rng.choice((86_400, 172_800)))
    return shop.changes(quantity=rng.choice((1, 2)))


MODES: Mapping[str, Mapping[str, bool]] = {
    "listed": {"listed": True},
    "fsync": {"listed": False, "fsync": True},
    "neither": {"listed": False},
}
"""What protects the bridge: its source's list, its own patience, or nothing."""


def played(power: Power, seeds: Iterable[int]) -> list[Round]:
    """Play *seeds*; print each, and their sum."""
    rounds = []
    for seed in seeds:
        rounds.append(done := power.play(seed))
        say(
            f"seed {seed}: {done.answered} events answered 2xx, {done.cut} of them cut "
            f"off, {done.healed} healed, right after {done.seconds:.1f} s",
            done.wrong,
        )
    say(
        f"{len(rounds)} seeds: {sum(one.answered for one in rounds):,} events answered "
        f"2xx, {sum(one.cut for one in rounds):,} of them cut off, "
        f"{sum(one.healed for one in rounds):,} healed, right after at most "
        f"{max(one.seconds for one in rounds):.1f} s, "
        f"{sum(one.lost for one in rounds):,} customers with lost events",
        [],
    )
    return rounds


def say(line: str, more: Sequence[str]) -> None:
    """Print a line, and what is wrong below it."""
    sys.stdout.write("\n  ".join([line, *(found[:200] for found in more[:9])]) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Play seeds of each mode; 1 if anything is wrong, or nothing is where it has to be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.power")
    parser.add_argument("seeds", type=int, nargs="?", default=100)
    parser.add_argument("--mode", choices=MODES, help="only this one")
    parser.add_argument("--workers", type=int, default=1)
    said = parser.parse_args()
    is_bad = False
    for mode, how in MODES.items():
        if mode != (said.mode or mode):
            continue
        say(f"--- {mode}", [])
        seeds = (
            said.seeds if mode in {"listed", said.mode} else max(2, said.seeds // 10)
        )
        with (
            tempfile.TemporaryDirectory() as folder,
            Power(Path(folder), workers=said.workers, **how) as power,
        ):
            rounds = played(power, range(1, 1 + seeds))
            wrong = [] if mode == "neither" else power.rest()
        say(f"wrong at the end: {len(wrong)}", wrong)
        wrong += [found for one in rounds for found in one.wrong]
        is_bad |= (mode == "neither") != bool(wrong)
    return is_bad


if __name__ == "__main__":
    sys.exit(main())
