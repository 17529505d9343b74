"""What is told of a subscription field by field, each with a stamp of its own.

A message of a CRM may hold this or that field of a deal; the others stay as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.domain.fold import State

ENDS, OVER, PLAN = "ends", "ended", "plan"
PARTS = (ENDS, OVER, PLAN)
"""When it renews, when its contract ended or will (both ms), what its plan is called."""


def part(id_: str, name: str) -> str:
    """The thing of one part of the subscription *id_*."""
    return f"part:{id_}:{name}"


def put_together(id_: str, state: State, things: Mapping[str, State]) -> dict[str, Any]:
    """The value of a subscription with its parts among *things*."""
    value = dict(state.value)
    told = {
        name: things[part(id_, name)] for name in PARTS if part(id_, name) in things
    }
    if not told or value.get("status") != "active":
        return value
    for name in {ENDS, PLAN} & told.keys():
        value.pop(name, None)
        value |= told[name].value
    end = told[OVER].value.get(OVER) if OVER in told else None
    if end is not None:
        newest = max(one.fact.stamp.at for one in (state, *told.values()))
        is_over = end <= newest
        value |= (
            {"status": "canceled", "ended_at": end} if is_over else {"cancel_at": end}
        )
    return value
