"""How much of the budget a backlog is written with, and whether Vitally says 429."""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench.figure import Figure, figure, say
from tests.bench.ingress import requests
from tests.bench.load import deliver
from tests.support.stack import Stack
from tests.support.waiting import eventually

LIMIT = 15_000
"""Units a minute, fifteen times Vitally's own: the same run, with more to count."""

SHARE = 0.8
WORKERS = 2

WINDOW = 60.0
"""Seconds that count, the last of the run: the limit is one of any 60 s."""

SECONDS = 75.0

ACCOUNTS = 1300
"""New ones: each takes two writes (PUT, 404, POST); more than the run can write."""


def measure(folder: Path) -> dict[str, Figure]:
    """Return the share of the allowed units that was used, and the number of 429."""
    with Stack(folder, WORKER_PROCESSES=WORKERS, VITALLY_BUDGET_SHARE=SHARE) as stack:
        vitally = stack.vitally
        vitally.turn(rate_limit=LIMIT)
        web = stack.web()
        eventually(lambda: deliver(web.port, requests("new", 1)) is None, 10)
        say(f"drain: {ACCOUNTS} accounts wait, workers start")
        deliver(web.port, requests("new", ACCOUNTS))
        stack.worker()
        eventually(vitally.writes, 20)
        time.sleep(SECONDS)
        end = time.monotonic() * 1000
        said = vitally.writes()
        assert stack.figures().dirty, "the backlog was too small"
    used = sum(one["cost"] for one in said if 0 < end - one["started"] < WINDOW * 1000)
    limited = sum(one["status"] == 429 for one in said)
    allowed = LIMIT * SHARE * WINDOW / 60
    return {"drain": figure([100 * used / allowed]), "limited": figure([limited])}
