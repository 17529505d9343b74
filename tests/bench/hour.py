"""`make load`: an hour with many waiting events and quiet accounts; nothing may grow.

    python -m tests.bench.hour [minutes [waiting [quiet [subscriptions]]]]

Vitally's limit is its real one, 1000 units a minute. As many new accounts come as are
written, so that as many events wait at the end as at the beginning. One customer has
thousands of subscriptions; one of these ends now and then, just before another
customer's. `deploy/load.md` has what was found.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import NamedTuple

from bridge.config import Config
from bridge.store import keys
from bridge.store.connect import batches
from tests.bench import events, machine, plan, waits
from tests.bench.events import Customer
from tests.bench.load import drive
from tests.bench.report import LOAD, Figure, figure, say, table
from tests.chaos.test_soak import WARM, growth
from tests.support.desk import settings
from tests.support.stack import Stack
from workers.context import Context
from workers.sweep import Sweeper

LIMIT = 1000
NOISE = 5
"""Events a second that change nothing, and as many that came before."""

EVERY = 30.0
"""Seconds between two endings; a sample is taken before each."""

OF_THE_LARGE = 4
"""Every so many endings the large customer has one too, just before."""

AT_ONCE = 2000


class Size(NamedTuple):
    """How much there is, and for how long."""

    minutes: float = 60
    waiting: int = 100_000
    quiet: int = plan.ACCOUNTS
    subscriptions: int = 20_000


class Sample(NamedTuple):
    """What is looked at; MB of processes (PSS) and of Redis, milliseconds, and counts."""

    web: float
    worker: float
    redis: float
    keys: float
    waiting: float
    sweep: float
    sweep_cpu: float
    metrics: float
    metrics_cpu: float


class Hour:
    """The stack under load, and what is known of it so far."""

    def __init__(self, stack: Stack, size: Size) -> None:
        self.stack, self.size = stack, size
        self.web, self.worker = stack.web(), stack.worker()
        stack.ready()
        chosen = settings(stack.vitally.url, stack.redis_url)
        context = Context(chosen, Config(), stack.redis, Event())
        self.sweeper = Sweeper(context, "bench")
        self.samples: dict[float, Sample] = {}
        self.took: dict[str, list[float]] = {"alone": [], "beside": [], "large": []}
        self.large = Customer()
        self.problems: list[str] = []
        self.refused = 0

    def prepare(self) -> None:
        """Have everything there that is there at the beginning of the hour."""
        size = self.size
        say(f"load: a customer of {size.subscriptions:,} subscriptions")
        for some in batches(range(1, size.subscriptions + 1), AT_ONCE):
            self.deliver(self.large.begins(n) for n in some)
            for n in some[100:]:
                del self.large._things[f"sub_1{self.large.id[4:]}{n:09}"]
        self.stack.settled(600)
        self.leaving = [Customer() for _ in range(int(size.minutes * 60 / EVERY) + 1)]
        for customer in self.leaving:
            self.deliver([customer.signs_up(), customer.begins()])
        self.stack.settled(600)
        for customer in self.leaving:  # written long ago
            self.stack.redis.hdel(keys.account(customer.id), "wrote_at", "pace")
        self.subscriptions = count(1)
        self.stack.vitally.turn(rate_limit=LIMIT)
        self.stack.redis.delete(keys.SLOTS, keys.RATE, keys.PAUSE)
        say(f"load: {size.waiting:,} events that wait")
        self.fill_up()

    def fill_up(self) -> None:
        """Let new accounts come until as many events wait as shall."""
        while missing := max(0, self.size.waiting - self.dirty()):
            self.deliver(Customer().begins() for _ in range(min(missing, AT_ONCE)))

    def dirty(self) -> int:
        """How many parties wait."""
        return int(self.stack.redis.zcard(keys.DIRTY))

    def deliver(self, told: Iterable[events.Event]) -> None:
        """Deliver events until each is answered with 202, as senders do."""
        requests = events.requests(told)
        while statuses := drive(self.web.port, requests):
            assert statuses.keys() <= {202, 503}, statuses
            if not statuses[503]:
                return
            self.refused += statuses[503]

    def stream(self, over: Event) -> None:
        """What comes all the time."""
        known = Customer()
        again = [known.begins() for _ in range(NOISE)]
        try:
            while not over.wait(1.0):
                self.deliver([*Customer().noise(*["invoice.paid"] * NOISE), *again])
                self.fill_up()
        except Exception as error:  # noqa: BLE001 - told by the main thread
            self.problems.append(repr(error))

    def run(self) -> None:
        """Take samples and let customers end, until the time is over."""
        self.since = len(self.stack.vitally.log())
        begun, over = time.monotonic(), Event()
        stream = Thread(target=self.stream, args=(over,))
        stream.start()
        say(" ".join(f"{name:>11}" for name in ("seconds", *Sample._fields, "ending")))
        for n in count():
            at = time.monotonic() - begun
            if at > self.size.minutes * 60 or self.problems:
                break
            seen = self.samples[at] = self.sample()
            took = self.ending(with_large=n % OF_THE_LARGE == 1)
            say(" ".join(f"{cell:>11.1f}" for cell in (at, *seen, took)))
            time.sleep(max(0.0, begun + (n + 1) * EVERY - time.monotonic()))
        self.minutes = (time.monotonic() - begun) / 60
        over.set()
        stream.join()
        assert not self.problems, self.problems

    def ending(self, *, with_large: bool) -> float:
        """A customer ends, perhaps just after a part of the large one; its milliseconds."""
        leaving, before = self.leaving.pop(), len(self.stack.vitally.log())
        begun = time.monotonic() * 1000
        if with_large:
            ended = {"status": "canceled", "ended_at": events.BORN + events.MONTH}
            told = self.large.changes(next(self.subscriptions), **ended)
            self.deliver([told | {"type": "customer.subscription.deleted"}])
        self.deliver([leaving.ends()])
        took = waits._written(self.stack, leaving, before) - begun
        self.took["beside" if with_large else "alone"].append(took)
        if with_large:
            written = waits._written(self.stack, self.large, before)
            self.took["large"].append(written - begun)
        return took

    def sample(self) -> Sample:
        """Look at everything once."""
        stack, pids = self.stack, (self.web.running.pid, self.stack.redis_server.pid)
        sweep = self.timed(self.sweeper.sweep, time.thread_time)
        metrics = self.timed(
            lambda: self.web.get("/metrics"),
            lambda: sum(machine.clock(*pids).values()) / 1e9,
        )
        return Sample(
            machine.memory(self.web.running.pid),
            machine.memory(self.worker.pid),
            int(stack.redis.info("memory")["used_memory"]) / 2**20,
            stack.redis.dbsize(),
            self.dirty(),
            *sweep,
            *metrics,
        )

    @staticmethod
    def timed(
        call: Callable[[], object], clock: Callable[[], float]
    ) -> tuple[float, float]:
        """Milliseconds of a *call*, and those on the *clock* of the processor."""
        begun, before = time.monotonic(), clock()
        call()
        return 1000 * (time.monotonic() - begun), 1000 * (clock() - before)

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """What came of it."""
        at = list(self.samples)[int(len(self.samples) * WARM) :]
        for name in ("web", "worker", "redis", "keys"):
            found = growth(at, [getattr(self.samples[one], name) for one in at])
            yield f"hour {name}", figure([found.level])
            yield f"hour {name} grew", figure([100 * found.share])
        for name in ("sweep", "sweep_cpu", "metrics", "metrics_cpu"):
            values = [getattr(one, name) for one in self.samples.values()]
            yield f"hour {name}", figure(values)
            yield f"hour {name} most", figure([max(values)])
        for name, took in self.took.items():
            parts = quantiles(took, n=20, method="inclusive")
            yield f"hour {name}", figure([parts[18]])
            yield f"hour {name} most", figure([max(took)])
        writes = [w for w in self.stack.vitally.log(self.since) if w["cost"] > 1]
        used = sum(w["cost"] for w in writes) / self.minutes
        yield "hour used", figure([100 * used / LIMIT / waits.SHARE])
        yield "hour refused", figure([self.refused])
        yield "hour limited", figure([sum(w["status"] == 429 for w in writes)])


def measure(folder: Path, size: Size) -> dict[str, Figure]:
    """Return all figures of an hour, or of what *size* says."""
    environ = {"BRIDGE_RECONCILE": "off", "VITALLY_BUDGET_SHARE": waits.SHARE}
    with Stack(folder, **environ) as stack:
        say(f"load: {size.quiet:,} quiet accounts with two subscriptions each")
        plan.fill(
            stack.redis, {k: str(v) for k, v in stack.environ.items()}, size.quiet
        )
        hour = Hour(stack, size)
        hour.prepare()
        hour.run()
        return dict(hour.figures())


def main(*numbers: str) -> None:
    """Measure and report."""
    size = Size(*(int(number) for number in numbers))
    with TemporaryDirectory(prefix="bridge-load-") as folder:
        rows = table(measure(Path(folder), size), LOAD)
    sys.stdout.write(f"{rows}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
