"""Which pins of a lock an advisory names: `python -m tests.support.advisories OSV LOCK ...`.

OSV is a folder or a file of advisories as osv.dev gives them out, one JSON object a file
(https://ossf.github.io/osv-schema/). For machines without a network; with one, pip-audit
asks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.pythons import Pin, pins

Advisory = Mapping[str, Any]


def read(path: Path) -> list[Advisory]:
    """The advisories in a file, or in every JSON file of a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def found(locked: Iterable[Pin], advisories: Iterable[Advisory]) -> Iterator[str]:
    """A line for each pin that an advisory names, unless it was withdrawn."""
    versions = {pin.name: pin.version for pin in locked}
    for advisory in advisories:
        for part in advisory.get("affected", ()):
            package = part.get("package", {})
            name = canonicalize_name(package.get("name", ""))
            if package.get("ecosystem") != "PyPI" or name not in versions:
                continue
            if not advisory.get("withdrawn") and _names(part, versions[name]):
                about = advisory.get("summary", "")
                yield f"{name} {versions[name]}: {advisory['id']} {about}".rstrip()


def _names(part: Mapping[str, Any], version: str) -> bool:
    """Whether *version* is listed, or within one of the ranges."""
    ranges = (r["events"] for r in part.get("ranges", ()) if r["type"] == "ECOSYSTEM")
    return version in part.get("versions", ()) or any(
        _within(events, Version(version)) for events in ranges
    )


def _within(events: Iterable[Mapping[str, str]], version: Version) -> bool:
    """Whether the last event not after *version* leaves it affected."""
    pairs = (pair for one in events for pair in one.items())
    steps = sorted((Version(at), kind) for kind, at in pairs if kind != "limit")
    affected = False
    for at, kind in steps:
        if at <= version:
            affected = kind == "introduced" or (at, kind) == (version, "last_affected")
    return affected


def main(osv: str, *locks: str) -> int:
    """Print what is found; 1 if there is anything, or nothing to look into."""
    advisories = read(Path(osv))
    lines = [line for lock in locks for line in found(pins(Path(lock)), advisories)]
    lines = [*lines, f"{len(advisories)} advisories, {len(lines)} named"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if lines[1:] or not advisories else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
