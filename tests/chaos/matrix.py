"""The fault matrix: each class of faults, the rows that make it, and where else.

A row of `FAULTS` says which class it was made for; what stands here is what the rows
do not say: other tests of the class, and what of it is not tried, and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Class(NamedTuple):
    """A class of faults; *elsewhere* are other tests of it (`file::test` or `file`)."""

    what: str
    elsewhere: Sequence[str] = ()
    untried: str = ""


KILL = "chaos/test_kill_matrix.py"

CLASSES: Mapping[str, Class] = {
    "F1": Class(
        "Redis dies and comes back",
        ("e2e/test_durability.py", "chaos/test_wiped.py"),
        "without an append-only file: then a lost Redis is lost, as the contract says",
    ),
    "F2": Class("Redis is full, or may evict", ("e2e/test_redis_faults.py",)),
    "F3": Class("Redis is slow or stalls", ("e2e/test_stalled.py",)),
    "F4": Class("executed, and the reply is lost", ("e2e/test_redis_faults.py",)),
    "F5": Class("a worker is killed at each step", (KILL,)),
    "F6": Class(
        "a child is killed",
        ("integration/test_worker_process.py",),
        "there is no work horse to kill: a worker does its jobs itself",
    ),
    "F7": Class("a deploy", ("e2e/test_rolling.py", "e2e/test_kill.py")),
    "F8": Class("Vitally limits", ("integration/test_throttle.py",)),
    "F9": Class(
        "Vitally fails",
        ("unit/test_retry.py",),
        "for hours: the retry table is pure and is tried with hours as numbers",
    ),
    "F10": Class("Vitally breaks off or lies", ("contract/test_faults.py",)),
    "F11": Class("Vitally refuses", ("integration/test_desk.py",)),
    "F12": Class("the key is refused", ("integration/test_worker_process.py",)),
    "F13": Class("the same event again", ("e2e/test_any_order.py",)),
    "F14": Class(
        "out of order: the plan shuffles all events, many of them of one second",
        ("e2e/test_any_order.py", "unit/test_fold.py"),
    ),
    "F15": Class("poison", ("unit/test_schemas.py", "integration/test_web.py")),
    "F16": Class(
        "a clock is wrong",
        ("unit/test_signatures.py", "integration/test_time.py"),
        "a worker's clock: it asks Redis for the time, and no lease knows another",
    ),
    "F17": Class("the secret is rotated", ("unit/test_signatures.py",)),
    "F18": Class(
        "Redis cannot be written to",
        ("chaos/test_disk_full.py", "e2e/test_redis_faults.py"),
    ),
    "F19": Class("a burst", ("e2e/test_load.py",)),
    "F20": Class("a worker sleeps beyond its lease", (KILL,)),
    "F21": Class(
        "Stripe's own API fails",
        ("integration/test_reread.py", "integration/test_stripe_api.py"),
        "in the play: a re-read changes no more than an event would",
    ),
    "F22": Class(
        "onlookers during faults",
        ("e2e/test_console.py",),
        "a sink of alerts: there is none",
    ),
    "F23": Class("an hour of it", ("chaos/test_soak.py",)),
}
