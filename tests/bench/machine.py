"""What Linux says that a process and its children have used."""

from __future__ import annotations

import re
from pathlib import Path

PROC = Path("/proc")

Clock = dict[str, int]
"""Thread -> nanoseconds on a processor, user and system."""


def family(pid: int) -> list[int]:
    """Return *pid* and every process below it that is alive."""
    found = [pid]
    for one in found:
        for listed in PROC.glob(f"{one}/task/*/children"):
            found += [int(child) for child in listed.read_text().split()]
    return found


def clock(*pids: int) -> Clock:
    """Read the time that all threads of these processes and those below have had."""
    return {
        thread.name: int((thread / "schedstat").read_text().split()[0])
        for pid in pids
        for one in family(pid)
        for thread in PROC.glob(f"{one}/task/*")
    }


def spent(before: Clock, after: Clock) -> float:
    """Return the seconds between two readings.

    What a thread that ended in between had done there is not seen; granian's end after
    half a minute of idleness, so that it is nothing.
    """
    return sum(ns - before.get(thread, 0) for thread, ns in after.items()) / 1e9


def memory(pid: int) -> float:
    """Return the PSS of a process and all below it, in MB."""
    rollups = [(PROC / f"{one}/smaps_rollup").read_text() for one in family(pid)]
    kilobytes = [int(re.findall(r"^Pss: +(\d+)", r, re.MULTILINE)[0]) for r in rollups]
    return sum(kilobytes) / 1024
