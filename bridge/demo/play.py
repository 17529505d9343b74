"""How the month is played: day by day over HTTP, and then until all is settled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from threading import Event
from typing import Any

from redis import Redis
from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from bridge.demo.post import Letter
from bridge.demo.stack import HERE, DemoError, EndedError, Stack
from bridge.demo.stripe import delivery
from bridge.store.inspect import Figures, figures

DAY_SECONDS = 0.2
"""How long a day takes."""

TRIES = 5
"""So often a delivery that is answered 503 is sent, as Stripe would."""

SETTLE_SECONDS = 30.0
POLL_SECONDS = 0.05

UNAVAILABLE = 503
ACCEPTED = 202


def play(
    stack: Stack,
    posted: Sequence[Letter],
    first: datetime,
    say: Callable[[str], None],
    stop: Event,
) -> None:
    """Send all *posted*, and say what happens; *first* is the first day.

    Raises DemoError where a delivery is not taken, EndedError when *stop* is set.
    """
    pool = HTTPConnectionPool(HERE, stack.port, timeout=Timeout(10), retries=False)
    with pool:
        for day, of_day in groupby(posted, key=lambda letter: int(letter.day)):
            shown = f"{first + timedelta(days=day):%d %b}"
            for letter in of_day:
                receipt = _send(pool, stack, letter, stop)
                say(_line(shown, letter, receipt))
                shown = ""
            _pause(DAY_SECONDS, stop)


def settled(redis: Redis, sent: int, stop: Event) -> tuple[Figures, bool]:
    """Wait until all *sent* deliveries are settled; the figures, and whether they are."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        seen = figures(redis)
        unsettled = seen.pending + seen.held + seen.dirty
        if seen.received >= sent and not unsettled:
            return seen, True
        if time.monotonic() > until:
            return seen, False
        _pause(POLL_SECONDS, stop)


def _send(pool: HTTPConnectionPool, stack: Stack, letter: Letter, stop: Event) -> str:
    """Deliver one letter, again while Redis is slow, and return its receipt."""
    status, said = _post(pool, stack, letter)
    for _ in range(TRIES - 1):
        if status != UNAVAILABLE:
            break
        _pause(1, stop)
        status, said = _post(pool, stack, letter)
    if status != ACCEPTED:
        raise DemoError(f"the web process answered {status}: {said}")
    told: Any = json.loads(said)
    return str(told["receipt"])


def _post(pool: HTTPConnectionPool, stack: Stack, letter: Letter) -> tuple[int, str]:
    """Post a letter that is signed now; status and body of the answer."""
    body, headers = delivery(letter.event, stack.webhook_secret, time.time())
    try:
        reply = pool.request("POST", "/webhooks/stripe", body, headers=headers)
    except HTTPError as error:
        stack.check()
        raise DemoError(f"the web process does not answer: {error}") from error
    return reply.status, reply.data.decode(errors="replace")


def _line(day: str, letter: Letter, receipt: str) -> str:
    words = f"{letter.words} ({letter.note})" if letter.note else letter.words
    return f"  {day:<6}  {letter.who:<14}  {words:<40}  {receipt}"


def _pause(seconds: float, stop: Event) -> None:
    if stop.wait(seconds):
        raise EndedError("ended before the month was over")
