"""`make bench`: measure all, or the parts that are named, beside the goals.

    python -m tests.bench [ingress drain writes freshness memory] [--profile]

All parts together write the page `deploy/benchmarks.md` and its chart; single ones only
print their rows. `--profile` shows where the time of the ingress goes instead.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from tests.bench import drain, freshness, ingress, memory, profile, report, writes
from tests.bench.figure import Figure, say
from tests.support.processes import ROOT

PARTS: Mapping[str, Callable[[Path], dict[str, Figure]]] = {
    "ingress": ingress.measure,
    "drain": drain.measure,
    "writes": writes.measure,
    "freshness": freshness.measure,
    "memory": memory.measure,
}

PAGE = ROOT / "deploy" / "benchmarks.md"
CHART = ROOT / "deploy" / "benchmarks.svg"


def main() -> int:
    """Measure and report; the status says nothing about the goals."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"{', '.join(PARTS)}; none: all")
    parser.add_argument("--profile", action="store_true", help="of the ingress")
    asked = parser.parse_args()
    if unknown := set(asked.part) - PARTS.keys():
        parser.error(f"there is no part {', '.join(unknown)}")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as folder:
        if asked.profile:
            profile.show(Path(folder))
            return 0
        figures: dict[str, Figure] = {}
        for name in asked.part or PARTS:
            place = Path(folder) / name
            place.mkdir()
            figures |= PARTS[name](place)
    sys.stdout.write(report.table(figures) + "\n")
    if not asked.part:
        _write(figures, load)
    return 0


def _write(figures: Mapping[str, Figure], load: float) -> None:
    page = report.page(
        figures,
        chart=CHART.name,
        machine=_machine(load),
        budget=_budget(),
        accounts=memory.ACCOUNTS,
    )
    PAGE.write_text(page, encoding="utf-8")
    CHART.write_text(report.chart(figures), encoding="utf-8")
    say(f"written: {PAGE.relative_to(ROOT)}, {CHART.relative_to(ROOT)}")


def _machine(load: float) -> str:
    """What it was measured on, without a name; *load* is of what else it had to do."""
    packages = ("flask", "granian", "marshmallow", "redis", "rq", "gunicorn")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"Measured on {os.cpu_count()} cores (load {load:.1f} before), {platform.system()}, "
        f"Python {platform.python_version()}, {versions}."
    )


def _budget() -> str:
    return (
        f"{drain.ACCOUNTS} new accounts wait for {drain.WORKERS} workers; Vitally is the "
        f"simulator with {drain.LIMIT} units a minute, of which the bridge may use "
        f"{drain.SHARE:.0%}. What counts are the last {drain.WINDOW:.0f} s."
    )


if __name__ == "__main__":
    sys.exit(main())
