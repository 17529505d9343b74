"""How long things take: histograms, counted by each process and handed over to Redis.

A call to Redis for each would cost more than what is measured. What a process has counted
since the last time is lost if it is killed or Redis fails; nothing is counted twice.
"""

from __future__ import annotations

import threading
import tomllib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

from redis import Redis

from bridge.store import keys

SUM = "us"
"""Names the sum of all values in microseconds among the numbers of a histogram."""


class Duration(NamedTuple):
    """Something that is measured, in seconds; each label has few values.

    *bounds* are the upper bounds of its buckets; one more has no bound.
    """

    meaning: str
    labels: Sequence[str]
    bounds: Sequence[float]


DELIVERY, REQUEST, WRITE = "delivery", "vitally_request", "event_to_write"

TABLE = tomllib.loads(files(__package__).joinpath("durations.toml").read_text("utf-8"))
DURATIONS = {name: Duration(**row) for name, row in TABLE.items()}
"""Name -> what is measured."""


def status_class(status: int) -> str:
    """`2xx` for 204; `none` for 0."""
    return f"{status // 100}xx" if status else "none"


class Durations:
    """What one process has measured; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, seconds: float, *labels: str) -> None:
        """Count one; nothing is sent yet."""
        histogram = "|".join((name, *labels))
        bucket = bisect_left(DURATIONS[name].bounds, seconds)
        with self._lock:
            self._counts[f"{histogram}|{bucket}"] += 1
            self._counts[f"{histogram}|{SUM}"] += round(seconds * 1e6)

    def flush(self, redis: Redis) -> None:
        """Add what was counted to the numbers in Redis. Raises redis' own errors."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if counts:
            with redis.pipeline(transaction=False) as pipe:
                for field, number in counts.items():
                    pipe.hincrby(keys.DURATIONS, field, number)
                pipe.execute()


Histogram = tuple[tuple[str, ...], list[int], float]
"""Values of the labels, how many are in each bucket, and the sum in seconds."""


def histograms(numbers: Mapping[str, int], name: str) -> list[Histogram]:
    """Return those of *name* among the *numbers* in Redis."""
    buckets = len(DURATIONS[name].bounds) + 1
    counts: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * buckets)
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for field, number in numbers.items():
        of, *labels, what = field.split("|")
        if of == name and what == SUM:
            sums[*labels,] = number / 1e6
        elif of == name and int(what) < buckets:
            counts[*labels,][int(what)] += number
    return [(labels, counts[labels], sums[labels]) for labels in sorted(counts)]
