"""The log of a run: enough to see what happened, and to do it all again.

A line is a JSON object. The first has the seed; `event` lines are the events, in the
order of their numbers; an `at` line is an action that was begun so many seconds from the
start; `saw` says what came of something. Lines may be taken out by hand to find the
few that matter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import orjson

from tests.chaos.plan import Action, Plan


class Log:
    """Writes the log of one run to *path*; threads may share it."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("wb")
        self._write({"seed": plan.seed, "seconds": plan.seconds})
        for event in plan.events:
            self._write({"event": event})
        self.begun = time.monotonic()

    def action(self, action: Action) -> None:
        """Note that an action begins now."""
        self._write({"at": self._now(), "do": action.do, "using": action.using})

    def saw(self, what: str, **more: Any) -> None:
        """Note what happened."""
        self._write({"saw": what, "after": self._now(), **more})

    def _now(self) -> float:
        return round(time.monotonic() - self.begun, 3)

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            self._file.write(orjson.dumps(line, default=str) + b"\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read(path: Path) -> Plan:
    """Read the plan that the run of a log has played."""
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    events = [line["event"] for line in lines if "event" in line]
    actions = [
        Action(line["at"], line["do"], line["using"]) for line in lines if "do" in line
    ]
    return Plan(lines[0]["seed"], lines[0]["seconds"], events, actions)
