"""The licence of each package that the lock names, from its own metadata.

`python -m tests.support.licences docs/supply-chain.md` writes the table anew.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata

from tests.support import docs
from tests.support.processes import ROOT
from tests.support.pythons import pins

ALLOWED = frozenset(
    {"MIT", "BSD", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "PSF-2.0"}
)
"""SPDX ids of licences that ask for a notice and no more. `BSD`: the metadata does not
say which one."""

OLD = {
    "Apache Software License": "Apache-2.0",
    "Apache-2.0": "Apache-2.0",
    "BSD-3-Clause": "BSD-3-Clause",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}
"""Classifiers and texts of metadata older than SPDX expressions -> SPDX id."""

BY_HAND = {"async-timeout": "Apache-2.0"}
"""Packages that this Python does not need, and so has not installed."""

EXCEPTIONS = {
    "orjson": "MPL-2.0 asks that changes to its own files be published; we change none",
}
"""Package that is used although its licence is not in ALLOWED -> why."""


def licences() -> dict[str, str]:
    """The licence of every package of requirements.txt; "" where none is known."""
    names = sorted({pin.name for pin in pins(ROOT / "requirements.txt")})
    return {name: _licence(name) for name in names}


def _licence(name: str) -> str:
    try:
        said = metadata(name).json
    except PackageNotFoundError:
        return BY_HAND.get(name, "")
    if expression := said.get("license_expression"):
        return str(expression)
    kinds = [c.split(" :: ")[-1] for c in said.get("classifier", ())]
    texts = [str(said.get("license", "")), *kinds]
    return next((OLD[text] for text in texts if text in OLD), "")


def refused(expression: str) -> set[str]:
    """The ids in *expression* that are not allowed, all of them even after an `OR`."""
    ids = set(re.findall(r"[\w.+-]+", expression)) - {"AND", "OR", "WITH"}
    return ids - ALLOWED or (set() if ids else {"none"})


def table() -> str:
    """Render one line for each package."""
    rows = ((name, said, EXCEPTIONS.get(name, "")) for name, said in licences().items())
    return docs.table(("package", "licence", "why all the same"), rows)


if __name__ == "__main__":
    docs.main(sys.argv[1:], {"licences": table})
