"""Whether changes are a mass change: more within an hour than customers make.

A *measure* adds up what moves within the hour: the accounts that churn, or the MRR of one
currency that goes down, or up. A mistake of a source, a rule or a version moves too much
of one. Each account is counted once. The write of a single customer is never held: it goes out
at once, or after a moment in which a mass change would show itself.
"""

from __future__ import annotations

from typing import NamedTuple

from bridge.domain.money import figure, money

CHURNED = "churned"
DOWN, UP = "down", "up"

FIRST = 0.01
"""The share of all accounts that may move at once, but at least one."""

DAILY = 0.15
"""So small a part of *least* accounts whose MRR moves within a minute need not wait: that
is daily business."""

RISE = 2.5
"""So many times as much MRR may go up as down: growth is seldom a mistake."""

GRACE_MS = 2500
"""How long the next ones wait for others to show themselves."""

LONG_GRACE_MS = 10_000
"""The same while a third of what would be too much came within the last minute."""

WHAT_TO_DO = "look at it with `mass`, then `release` or `discard --mass`"

THOUSANDTHS = 1000
"""MRR is counted in thousandths of a currency's unit."""


class Limits(NamedTuple):
    """A mass change exceeds a share (of the accounts, of the MRR) and *least* accounts."""

    churned: float
    mrr: float
    least: int


class Window(NamedTuple):
    """What one *measure* counts within the hour, the change in question included.

    *number* accounts move *amount* of *total*, *recent* of them since a minute ago, *rank*
    of them before this one, which was counted *age_ms* ago. *accounts* are all that there
    are. *is_held*: it was too much already, and nobody has said a word yet.
    """

    measure: str
    is_held: bool
    accounts: int
    total: int
    number: int
    amount: int
    recent: int
    rank: int
    age_ms: int


def of_mrr(currency: str, change: float) -> tuple[str, int]:
    """The measure of a *change* of an account's MRR, and its amount."""
    way = UP if change > 0 else DOWN
    return f"{currency} {way}", round(abs(change) * THOUSANDTHS)


def decide(seen: Window, limits: Limits) -> int | None:
    """Milliseconds until the change is judged again; 0: it goes on; None: it is held."""
    share = limits.churned if seen.measure == CHURNED else limits.mrr
    most = seen.total * share * (RISE if seen.measure.endswith(UP) else 1)
    if seen.is_held or (seen.number > limits.least and seen.amount > most):
        return None
    is_daily = seen.measure != CHURNED and seen.recent <= limits.least * DAILY
    if is_daily or seen.rank < max(1, int(seen.accounts * FIRST)):
        return 0
    # Of the hour's amount, as much as of its accounts.
    lately = seen.amount * seen.recent / seen.number
    is_fast = seen.recent > limits.least / 3 and lately > most / 3
    return max(0, (LONG_GRACE_MS if is_fast else GRACE_MS) - seen.age_ms)


def reason(seen: Window) -> str:
    """Why a change is held, as a sentence."""
    if seen.measure == CHURNED:
        what = f"{seen.number:,} of {seen.accounts:,} accounts would be churned"
    else:
        code, _, way = seen.measure.partition(" ")
        amount, total = (n / THOUSANDTHS for n in (seen.amount, seen.total))
        what = f"{figure(amount, code)} of {money(total, code)} of MRR would go {way}"
    return f"part of a mass change: {what} within an hour; {WHAT_TO_DO}"


def of_accounts(held: int) -> str:
    """The same of an organization of which the changes of so many customers are."""
    return f"part of a mass change: that of {held:,} of its customers; {WHAT_TO_DO}"
