"""`make bench`: measure all, or the parts that are named, beside the goals.

    python -m tests.bench [idle backlog writes units trips memory boot contact plan console ingress]
    python -m tests.bench million

All parts but the last together write the page `deploy/benchmarks.md`; single ones only
print their rows. The status says nothing about the goals.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from tests.bench import console, contact, costs, ingress, million, plan, report, waits
from tests.support.processes import ROOT

PARTS: Mapping[str, Callable[[Path], dict[str, report.Figure]]] = {
    "idle": waits.when_idle,
    "backlog": waits.behind_a_backlog,
    "writes": costs.writes,
    "units": costs.units,
    "trips": costs.trips,
    "memory": costs.memory,
    "boot": costs.boot,
    "contact": contact.measure,
    "plan": plan.over_many,
    "console": console.over_many,
    "ingress": ingress.measure,
}

ASKED: Mapping[str, Callable[[Path], dict[str, report.Figure]]] = {
    "million": million.measure,
}
"""Measured only where it is named: half an hour, 10 GB on the disk, 5 GB of memory."""

PACKAGES = ("flask", "granian", "marshmallow", "redis", "rq", "gunicorn")


def main(names: list[str]) -> None:
    """Measure and report."""
    if unknown := set(names) - {*PARTS, *ASKED}:
        sys.exit(
            f"there is no part {', '.join(unknown)}; there are {', '.join([*PARTS, *ASKED])}"
        )
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    machine = (
        f"Measured on {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f} before), "
        f"{platform.system()}, Python {platform.python_version()}, {versions}."
    )
    figures: dict[str, report.Figure] = {}
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as folder:
        for name in names or PARTS:
            place = Path(folder) / name
            place.mkdir()
            figures |= {**PARTS, **ASKED}[name](place)
    sys.stdout.write(report.table(figures) + "\n")
    if not names:
        budget = waits.LIMIT * waits.SHARE
        page = report.page(
            figures, machine=machine, accounts=costs.ACCOUNTS, waiting=budget
        )
        path = ROOT / "deploy" / "benchmarks.md"
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
