"""How many writes a thousand events cost: months of some customers, with the noise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bridge.store import keys
from tests.bench import events
from tests.bench.figure import Figure, figure, say
from tests.bench.load import deliver
from tests.support.stack import Stack
from tests.support.stripe import BORN, MONTH, Shop

Moment = list[dict[str, Any]]
"""Events that come within seconds of one another."""

CUSTOMERS = 60
RENEWALS = 3
HOUR_MS = 3_600_000

PAID = (
    "invoice.finalized",
    "payment_intent.created",
    "charge.succeeded",
    "payment_intent.succeeded",
    "invoice.paid",
    "invoice.payment_succeeded",
)
FAILED = ("invoice.finalized", "payment_intent.payment_failed", "charge.failed")
"""What Stripe sends round a change of a subscription; no account depends on it.

https://docs.stripe.com/billing/subscriptions/webhooks#events
"""


def life(shop: Shop, number: int) -> Iterator[Moment]:
    """Months of a customer: a sign-up, renewals, and what happens to some."""

    def noise(*types: str) -> Moment:
        return [shop.pays() | {"type": type_} for type_ in types]

    yield [
        shop.signs_up(),
        *noise("payment_method.attached"),
        shop.begins(status="incomplete"),
        *noise("invoice.created", *PAID),
        shop.changes(status="active"),
    ]
    for month in range(RENEWALS):
        ends = BORN + (month + 2) * MONTH
        if number % 10 == month:
            changed = shop.changes(ends=ends, status="past_due")
            yield [*noise("invoice.created"), changed, *noise(*FAILED)]
            yield [*noise(*PAID), shop.changes(status="active")]
        else:
            yield [*noise("invoice.created"), shop.changes(ends=ends), *noise(*PAID)]
        if number % 3 == month:
            seats = [shop.changes(quantity=2 + month + more) for more in range(2)]
            yield [*seats, *noise("invoiceitem.created")]


def measure(folder: Path) -> dict[str, Figure]:
    """Return the writes for 1000 events, and those for all of them once more."""
    with Stack(folder) as stack:
        web = stack.web()
        stack.worker()
        stack.ready()
        sent: Moment = []
        for moments in _calendar():
            say(f"writes: {len(moments)} customers have a moment")
            round_ = [told for step in _by_step(moments) for told in step]
            _post(stack, web.port, [*round_, *round_[::50]])
            sent += round_
            _days_pass(stack)
        received, writes = stack.figures().received, len(stack.vitally.writes())
        say(f"writes: all {len(sent)} events again, with and without the ring")
        _post(stack, web.port, sent)
        stack.redis.delete(keys.RECENT)
        _days_pass(stack)
        _post(stack, web.port, sent)
        repeats = len(stack.vitally.writes()) - writes
    return {
        "writes": figure([1000 * writes / received]),
        "repeats": figure([repeats]),
    }


def _calendar() -> Iterator[list[Moment]]:
    """The moments of all customers, first the first of each."""
    lives = [list(life(Shop(), number)) for number in range(CUSTOMERS)]
    for nth in range(max(map(len, lives))):
        yield [one[nth] for one in lives if len(one) > nth]


def _by_step(moments: list[Moment]) -> Iterator[Moment]:
    """The first event of each moment, then the second of each, and so on."""
    for nth in range(max(map(len, moments))):
        yield [moment[nth] for moment in moments if len(moment) > nth]


def _post(stack: Stack, port: int, told: Moment) -> None:
    now = time.time()
    deliver(port, [events.request(one, now) for one in told])
    stack.settled(60)


def _days_pass(stack: Stack) -> None:
    """Let the last write of every account be long ago, as it is between renewals."""
    for key in stack.redis.scan_iter(match=f"{keys.account('')}*"):
        stack.redis.hincrby(key, "wrote_at", -HOUR_MS)
