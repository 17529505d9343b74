"""Make lock files fit for every pip: .ci/extras.py LOCK ...

Where one package asks for `name[extra]`, pip before 23.3 takes neither the pin of
`name` for it nor the other way round, looks for a release by itself, and then refuses
the newest for having no hash. So each `name[extra]==1` of a lock is written once for
every choice of its extras, the empty one included, each with the hashes.
"""

from __future__ import annotations

import re
import sys
from itertools import combinations
from pathlib import Path

PACKAGE = re.compile(r"^(?=[a-z0-9])", re.MULTILINE)
WITH_EXTRAS = re.compile(r"([^\[\s]+)\[([^\]]+)\](.*)", re.DOTALL)


def lines(package: str) -> list[str]:
    """Return one package's part of a lock, once for each choice of its extras."""
    found = WITH_EXTRAS.match(package)
    if found is None:
        return [package]
    name, extras, rest = found.groups()
    names = extras.split(",")
    sizes = range(1, len(names) + 1)
    chosen = [",".join(some) for size in sizes for some in combinations(names, size)]
    return [name + rest, *(f"{name}[{some}]{rest}" for some in chosen)]


for path in map(Path, sys.argv[1:]):
    parts = PACKAGE.split(path.read_text(encoding="utf-8"))
    text = "".join(line for part in parts for line in lines(part))
    path.write_text(text, encoding="utf-8")
