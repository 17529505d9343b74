"""What Vitally may answer, and what follows: the table that the documentation prints.

`workers.outcome.failed` decides; a test holds each row to it.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from bridge import docs
from bridge.errors import (
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from workers.retry import CONFIRM_MS, FIRST_MS, GIVE_UP_MS, MOST_MS
from workers.write import WrongAddressError


class Row(NamedTuple):
    """An *answer*, the error that it is to us, the decision's word, what *follows*."""

    answer: str
    error: VitallyError
    word: str
    follows: str


BACK_OFF = (
    f"a random part of {FIRST_MS // 1000} s, twice as long each time up to "
    f"{MOST_MS // 60_000} min, for {GIVE_UP_MS // 86_400_000} days, then parked"
)

ANSWERS = (
    Row(
        "connection refused, no address, no TLS: surely not arrived",
        VitallyUnavailableError("refused", sent=False),
        "retry",
        f"tried again after {BACK_OFF}",
    ),
    Row(
        "time-out after sending, reset, broken off, no JSON, HTML, over 1 MiB, a "
        "redirect, 408, 425, 5xx: may have arrived",
        VitallyUnavailableError("time-out"),
        "retry",
        "the same, with the whole document in place of the difference, and once more "
        f"{CONFIRM_MS // 1000} s after it went well; a creation looks first whether "
        "the account is there",
    ),
    Row(
        "429",
        VitallyLimitedError("slow down", 2.0),
        "limited",
        "every worker waits for `Retry-After`, else `RateLimit-Reset`; no failed try",
    ),
    Row(
        "401, 403",
        VitallyKeyError("no", 401),
        "stopped",
        "all writes stop, `/readyz` is red; a probe lets them go on by itself",
    ),
    Row(
        "404 to the update and to the creation",
        WrongAddressError("not found", 404),
        "stopped",
        "the same: the base URL or the subdomain is wrong",
    ),
    Row(
        "400, 409, 422 and every other 4xx",
        VitallyRefusedError("must be string", 422),
        "parked",
        "parked with Vitally's reason; tried again with the next event, or by hand "
        "(after 400 or 409 to a creation there is one more update first)",
    ),
)
"""From the most harmless to the most final. 404 to an update alone means: create it."""


def table() -> str:
    """Render one line of Markdown for each answer."""
    rows = ((row.answer, row.word, row.follows) for row in ANSWERS)
    return docs.table(("Vitally's answer", "word in the log", "what follows"), rows)


if __name__ == "__main__":
    docs.main(sys.argv[1:], {"answers": table})
