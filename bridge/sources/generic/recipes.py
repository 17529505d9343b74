"""The recipes that are shipped: tables of systems that many have, in `recipes/`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def recipes() -> Mapping[str, Mapping[str, Any]]:
    """Return each recipe's table by its name."""
    found = sorted(
        files(__package__).joinpath("recipes").iterdir(), key=lambda f: f.name
    )
    return {
        f.name.removesuffix(".toml"): tomllib.loads(f.read_text("utf-8")) for f in found
    }


def over(recipe: Mapping[str, Any], lines: Mapping[str, Any]) -> dict[str, Any]:
    """Lay *lines* over those of a recipe; `false` takes one of its lines away."""
    found = dict(recipe)
    for name, value in lines.items():
        below = found.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            found[name] = over(below, value)
        elif value is False and not isinstance(below, bool):
            found.pop(name, None)
        else:
            found[name] = value
    return found
