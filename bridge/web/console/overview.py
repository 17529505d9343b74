"""The page that says whether all is well, what became of all events, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from bridge.lamps import CHOSEN, Lamp, complete
from bridge.store.audit import latest
from bridge.store.durations import DURATIONS, WRITE, histograms
from bridge.store.index import MANY, Index, sums
from bridge.store.inspect import Figures, figures
from bridge.store.samples import Sample, marks, samples
from bridge.web.console.chart import chart
from bridge.web.console.pages import Data, Pages, console

pages = Pages("overview", "Overview")

RECENT_MS = 30_000
"""How old the last sample must be for the present figures to be another one."""

LISTED = 8
"""Marks and actions that are listed."""

SUMS = {
    "received": ("accepted", "duplicate", "ignored", "quarantined"),
    "accepted": ("settled", "pending", "held", "parked"),
}
"""Counts that are the sum of others."""

CHARTS = {
    "events": {"received": "received", "accepted": "accepted"},
    "writes": {"written": "writes", "saved": "saved"},
}
"""Chart -> its lines, and the figures that they draw."""


@pages.page("/", "overview.html")
def overview() -> Data:
    """The lamps, the sums, the day's samples, the budget and the MRR."""
    redis, settings = console().redis, console().settings
    now, lit, done = figures(redis), console().health.lit(), marks(redis)
    day, index = samples(redis), Index(redis, keep=True)
    accounts = index.count()
    if day and now.now_ms - day[-1].at > RECENT_MS:
        known = now._asdict() | {"at": now.now_ms}
        day.append(Sample(**{name: known[name] for name in Sample._fields}))
    points = {f: [(one.at, getattr(one, f)) for one in day] for f in Sample._fields}
    share, jobs = settings.vitally_budget_share, now.saved + now.writes
    return {
        "well": sentence(lit),
        "level": next((level for level in LEVELS if _of(lit, level)), "good"),
        "lamps": lit,
        "figures": now,
        "sums": [addition(now, whole, parts) for whole, parts in SUMS.items()],
        "event_to_write": {str(part): quantile(now, part) for part in (0.5, 0.95)},
        "complete": complete(now, settings),
        "drained_s": round(now.drained_in(share)),
        "budget": {
            "units": round(now.limit * share),
            "limit": now.limit,
            "share": share,
            "cost": now.cost,
            "writes": int(now.limit * share // now.cost),
        },
        "saved": now.saved / jobs if jobs else None,
        "mrr": sums(index.rows() if accounts <= MANY else ()),
        "accounts": accounts,
        "many": accounts > MANY,
        "charts": {
            name: chart({line: points[f] for line, f in own.items()}, done, now.now_ms)
            for name, own in CHARTS.items()
        },
        "samples": len(day),
        "marks": done[:LISTED],
        "deeds": latest(redis, LISTED),
    }


LEVELS = ("bad", "warn")


def _of(lit: Sequence[Lamp], level: str) -> list[Lamp]:
    return [lamp for lamp in lit if lamp.level == level]


def sentence(lit: Sequence[Lamp]) -> str:
    """Whether all is well, in one sentence."""
    bad, warn = _of(lit, "bad"), _of(lit, "warn")
    stopped = [lamp.text for lamp in lit if lamp.kind in CHOSEN]
    if bad:
        return f"Not ready: {bad[0].text}"
    if warn:
        them = "one thing needs" if len(warn) == 1 else f"{len(warn)} things need"
        if stopped or any(lamp.kind == "vitally_failing" for lamp in lit):
            return f"Events are taken, but not written for now, and {them} a look."
        return f"Events are taken and written, but {them} a look."
    return stopped[0] if stopped else "All is well: events come in and are written."


def addition(now: Figures, whole: str, parts: Sequence[str]) -> Mapping[str, Any]:
    """A sum that must come out: its parts, and whether they do add up."""
    known = now._asdict()
    added = {name: known[name] for name in parts}
    return {
        "name": whole,
        "whole": known[whole],
        "parts": added,
        "adds_up": known[whole] == sum(added.values()),
    }


def quantile(now: Figures, part: float) -> float | None:
    """Seconds within which this *part* of the writes came after their events.

    The upper bound of a bucket, since the beginning; None: no write yet, or longer.
    """
    bounds = DURATIONS[WRITE].bounds
    for _, buckets, _ in histograms(now.durations, WRITE):
        sofar = accumulate(buckets)
        wanted = part * sum(buckets)
        pairs = zip(sofar, bounds, strict=False)
        return next((bound for n, bound in pairs if n >= wanted), None)
    return None
