"""One event told more than once: rendered for several versions of its source's API.

Stripe sends an event to each endpoint in the endpoint's own version
(https://docs.stripe.com/webhooks/versioning). All tell of one instant and one state
(`after` is the same), and each may say what another one leaves out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bridge.domain.facts import Fact
from bridge.domain.values import Value

SAME = ("id", "price", "coupon")
"""Keys in which two rows of a list have to agree to be the same thing."""


def told_once(renderings: Sequence[Fact]) -> list[Fact]:
    """The *renderings* of one event as one: with all that any of them says.

    Where they do not agree on what the event replaced, once for each.
    """
    if len(renderings) == 1:
        (only,) = renderings
        return [only._replace(rendering="") if only.rendering else only]
    value = united([fact.value for fact in renderings])
    each = {fact.before: fact for fact in renderings}
    ordered = sorted(each.values(), key=lambda fact: fact.before or "")
    return [fact._replace(value=value, rendering="") for fact in ordered]


def united(values: Sequence[Value]) -> Value:
    """What *values* say together; where they differ, what the fullest of them says."""
    ordered = sorted(values, key=lambda value: (-_size(value), _text(value)))
    found = ordered[0]
    for other in ordered[1:]:
        found = _filled(found, other)
    return found


def _text(value: Value) -> str:
    return json.dumps(value, sort_keys=True)


def _size(value: Any) -> int:
    """How much is said: the number of single values."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 1


def _filled(one: Any, other: Any) -> Any:
    """*one* with what it leaves out and *other* says; of two lists the longer one."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: _filled(one[key], other[key]) for key in one if key in other}
        return {**other, **one, **both}
    if not (isinstance(one, list) and isinstance(other, list)):
        return one
    if len(one) != len(other):
        short, long = sorted((one, other), key=len)
        named = {row["id"]: row for row in short if _is_named(row)}
        return [
            _filled(row, named.get(row["id"], row)) if _is_named(row) else row
            for row in long
        ]
    return [
        _filled(row, beside) if _are_same(row, beside) else row
        for row, beside in zip(one, other, strict=True)
    ]


def _is_named(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), str)


def _are_same(row: Any, other: Any) -> bool:
    if not (isinstance(row, dict) and isinstance(other, dict)):
        return False
    return all(row[k] == other[k] for k in SAME if k in row and k in other)
