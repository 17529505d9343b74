"""How one of HubSpot's events becomes stamped facts, and which types are read at all.

An event tells one property or none, so that each property is a thing of its own. A
deletion is not final: what is deleted can be restored for 90 days, under its old id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from marshmallow import ValidationError

from bridge.domain.facts import CREATED, THIN, Fact, Stamp, Value, pointer
from bridge.sources.hubspot import schemas
from bridge.sources.hubspot.rules import OWNER, Rules, rules
from bridge.webhook.source import Event, Handler, Options
from bridge.webhook.values import digest, kept

PREFIX = "hubspot:"

CHANGED = 2
"""Rank of what is no creation; of what is deleted, nothing is left to be known."""


def told(company: str, said: Mapping[str, Any], rules: Rules) -> Iterator[_Told]:
    """Yield the things that properties tell; raises ValueError, with the property.

    *said* maps a property to its text. What only HubSpot's users' names tell is left
    out.
    """
