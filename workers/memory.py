"""What memory this process holds, and how it gives some back."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress
from pathlib import Path


def memory_mb() -> float:
    """What this process holds now; 0 where the system does not tell."""
    with suppress(OSError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0


def give_memory_back() -> None:
    """Free what only circles keep, and give it back to the system; glibc would keep it.

    The process itself looks for circles so seldom that a large account's pile up.
    """
    gc.collect()
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
