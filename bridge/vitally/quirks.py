"""The one decision here: which refusals of Vitally mean something else than no.

Closed by default: a refusal that no row knows stays a refusal. Vitally documents
neither what a second creation of an account answers nor how it says so; the next
case is one row and one test.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bridge.errors import VitallyError


class Quirk(NamedTuple):
    """A refusal that is known: its status and, where it matters, its reason."""

    label: str
    status: int
    reason: re.Pattern[str]
    seen: str
    """Where the row comes from, and when."""


_ANY = re.compile("")
_DUPLICATE = re.compile(
    r"\balready\b|(?<!not )\bexists\b|\bunique\b|(?<!not have )\bduplicate",
    re.IGNORECASE,
)

ALREADY_EXISTS = (
    Quirk(
        "conflict on creation",
        409,
        _ANY,
        "A production client lists 409 among the codes it handles (2024-05).",
    ),
    Quirk(
        "duplicate told as a validation error",
        400,
        _DUPLICATE,
        "Inference: every other refusal of a body is a 400 (2024-05).",
    ),
    Quirk(
        "duplicate told as an unprocessable body",
        422,
        _DUPLICATE,
        "Inference: the usual third way to say it; not documented, not recorded.",
    ),
)
"""Refusals of a creation that say that the account is there already."""


def already_exists(error: VitallyError) -> bool:
    """Tell whether a refused creation means that the account exists."""
    return any(
        error.status == row.status and row.reason.search(error.reason) is not None
        for row in ALREADY_EXISTS
    )
