"""The guard, which holds the writes of a mass change until somebody says a word."""

from __future__ import annotations

from collections.abc import Mapping

from redis import Redis

from bridge.config import Config
from bridge.desired import Desired, is_ending
from bridge.domain.facts import organization_id
from bridge.domain.mass import (
    CHURNED,
    GRACE_MS,
    LONG_GRACE_MS,
    Limits,
    Window,
    decide,
    of_accounts,
    of_mrr,
    reason,
)
from bridge.store.mass import Mass
from bridge.store.view import View

STEP_MS = 60_000
"""MRR that goes up so soon after the account's last write is a step of one customer: a
second subscription, more seats."""


def moves(view: View, desired: Desired, config: Config) -> dict[str, int]:
    """What a write moves: measure -> amount.

    A write moves nothing if we never wrote the account, if the customer begins again,
    or if somebody has released it; an organization moves what its accounts have moved.
    """
    found: dict[str, int] = {}
    if not view.written or view.released or organization_id(view.account):
        return found
    if is_ending(view, desired, config):
        found[CHURNED] = 1
    mrr, code = (config.traits.get(t) or "" for t in ("mrr", "billingCurrency"))
    had, shall = view.ledger.has, desired.change.traits
    before, after = had.get(mrr), shall.get(mrr) or 0
    currency = had.get(code) or desired.says.get("billingCurrency")
    if mrr in shall and currency:
        match before, after:
            case int() | float(), int() | float():
                measure, amount = of_mrr(str(currency), after - before)
                is_step = after > before and view.now - view.wrote_at < STEP_MS
                found |= {measure: amount} if amount and not is_step else {}
    return found


class Guard:
    """Judges what writes move; all workers share what was counted."""

    def __init__(self, redis: Redis, limits: Limits) -> None:
        self._mass = Mass(redis)
        self._limits = limits

    def below(self, view: View) -> tuple[int, str]:
        """The same of an organization, which is held while any of its accounts is."""
        if view.released or not view.children:
            return 0, ""
        parties = (member.name for member in view.children)
        held, soon = self._mass.below(parties, LONG_GRACE_MS)
        return (GRACE_MS if soon else 0), (of_accounts(held) if held else "")

    def judge(self, account: str, moved: Mapping[str, int]) -> tuple[int, str]:
        """Milliseconds until a write is judged again (0: it goes on), or why it is held."""
        seen = self._mass.weigh(account, moved)
        if any(self._is_unsure(window) for window in seen):
            seen = self._mass.weigh(account, moved, anew=True)
        wait = 0
        for window in seen:
            one = decide(window, self._limits)
            if one is None:
                why = reason(window)
                self._mass.hold(window.measure, why)
                return 0, why
            wait = max(wait, one)
        return wait, ""

    def _is_unsure(self, seen: Window) -> bool:
        """Whether the total must be known better, because much depends on it."""
        if seen.total == 0:
            return seen.number > self._limits.least / 3
        return decide(seen, self._limits) is None and not seen.is_held
