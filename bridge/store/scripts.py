"""The Lua that changes state: each script is one atomic step, counted where it acts.

A script is a file in `lua/`; its first lines say what it is for, its KEYS, ARGV and
what it RETURNS, and which other files it USES. `lua/README.md` is the map.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("lua")


@cache
def load(name: str) -> str:
    """The text of a script, with the prelude and all that it uses before it."""
    own = _file(name)
    uses = re.search(r"^-- USES: (.+)$", own, re.MULTILINE)
    parts = ["prelude", *(uses[1].split() if uses else ())]
    return "\n".join([*map(_file, parts), own])


def _file(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")
