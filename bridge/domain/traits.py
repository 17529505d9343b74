"""The traits: a table of how each is read off an account that has a subscription.

A trait is a value, `None` (known to have none) or `Unknown` (left out of the write).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from bridge.domain import account as accounts
from bridge.domain.account import Account
from bridge.domain.money import Unknown, exact, rounded
from bridge.domain.policy import Policy
from bridge.domain.subscription import (
    Subscription,
    cancels_at,
    plan_names,
    renews_at,
    revenue,
)

Known = str | int | float | None
Result = Known | Unknown

SILENT = Unknown("")
"""There are no facts to say anything from."""

STAYS = Unknown(".")
"""There are facts, and they say neither a value nor that there is none."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(milliseconds: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    at = EPOCH + timedelta(milliseconds=milliseconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def _currencies(subs: list[Subscription]) -> set[str | None]:
    return {sub.currency for sub in subs}


class Reading(NamedTuple):
    """An account, read under a policy at an instant (ms)."""

    account: Account
    policy: Policy
    now: int

    @property
    def live(self) -> list[Subscription]:
        """Subscriptions that are live, whatever counts as money."""
        return [sub for sub in self.account.subscriptions if sub.is_live]

    @property
    def counting(self) -> list[Subscription]:
        """Subscriptions whose amounts count in MRR."""
        wanted = self.policy.statuses
        return [s for s in self.account.subscriptions if s.status in wanted]


def _mrr(reading: Reading) -> Result:
    counting = reading.counting
    if not counting:
        return None if reading.policy.empty == "null" else 0
    by_currency: dict[str, Fraction] = {}
    for sub in counting:
        amount = revenue(sub, reading.policy, reading.now)
        if isinstance(amount, Unknown):
            return amount
        code = sub.currency or ""
        pays = exact(amount, code, sub.source)
        by_currency[code] = by_currency.get(code, Fraction(0)) + pays
    if len(by_currency) == 1:
        return rounded(*by_currency.popitem()[::-1])
    return _converted(by_currency, reading.policy)


def _converted(by_currency: Mapping[str, Fraction], policy: Policy) -> Result:
    """The sum in the base currency, rounded once; unknown where a rate is missing.

    *by_currency* are major units.
    """
    total = Fraction(0)
    for code, amount in by_currency.items():
        rate = policy.rate(code)
        if policy.base is None or rate is None:
            listed = ", ".join(sorted(by_currency)).upper()
            return Unknown(f"several currencies and no rates: {listed}")
        total += amount * rate
    return rounded(total, policy.base or "")


def _earliest(
    subs: Iterable[Subscription], told: Callable[[Subscription], int | Unknown | None]
) -> Result:
    """The earliest instant that any of *subs* tells; unknown where one does not know."""
    found: list[int] = []
    for sub in subs:
        at = told(sub)
        if isinstance(at, Unknown):
            return at
        if at is not None:
            found.append(at)
    return instant(min(found)) if found else None


def _next_renewal(reading: Reading) -> Result:
    return _earliest(reading.live, renews_at)


def _churned(reading: Reading) -> Result:
    at = accounts.churned_at(reading.account)
    return None if at is None else instant(at)


def _trial_end(reading: Reading) -> Result:
    tried = [sub for sub in reading.account.subscriptions if sub.had_trial]
    if not tried:
        return SILENT
    # Some tell it during the trial alone.
    ends = [(sub.trial_end, sub.id) for sub in tried]
    silent = next((id_ for end, id_ in ends if end is None), None)
    if silent is not None:
        return Unknown(f"{silent}: when its trial ended is not in the event")
    return instant(max(end for end, _ in ends if end is not None))


def _status(reading: Reading) -> Result:
    return accounts.status(reading.account)


def _plan(reading: Reading) -> Result:
    part = next((sub for sub in reading.live if sub.value.get("more")), None)
    if part is not None:
        return Unknown(f"{part.id}: the event holds only a part of its items")
    names = {name for sub in reading.live for name in plan_names(sub)}
    return ", ".join(sorted(names)) or None


def _currency(reading: Reading) -> Result:
    trialing = [
        sub for sub in reading.account.subscriptions if sub.status == "trialing"
    ]
    found = _currencies(reading.live or trialing)
    if len(found) > 1:
        return Unknown("several currencies")
    code = found.pop() if found else None
    return code.upper() if code else STAYS


def _cancel_at(reading: Reading) -> Result:
    return _earliest(reading.live, cancels_at)


class Trait(NamedTuple):
    """One trait: how it is read off an account with a subscription, and what it is."""

    read: Callable[[Reading], Result]
    meaning: str


TABLE: Mapping[str, Trait] = {
    "mrr": Trait(
        _mrr,
        "What all live subscriptions (`active`, `past_due`) pay a month, in major "
        "units, summed exactly and rounded once; `null` while none is live.",
    ),
    "nextRenewalDate": Trait(
        _next_renewal,
        "The earliest end of a licensed item's period over the live subscriptions "
        "that will renew; else `null`.",
    ),
    "churnedAt": Trait(
        _churned,
        "When the last subscription that ever was live ended; `null` as soon as one "
        "is live, trialing, paused or incomplete again.",
    ),
    "trialEndDate": Trait(
        _trial_end,
        "The latest trial end, cut short where the subscription ended before; stays "
        "after conversion.",
    ),
    "subscriptionStatus": Trait(
        _status,
        "The strongest of past_due, active, trialing, paused, incomplete, unpaid, "
        "churned; `unconverted` where none ever was live.",
    ),
    "planName": Trait(
        _plan,
        "The plan names of the live subscriptions, sorted, joined by a comma; `null` "
        "when nothing is live.",
    ),
    "billingCurrency": Trait(
        _currency,
        "ISO code of the live subscriptions, else of the trialing ones; left out "
        "where there is more than one.",
    ),
    "cancelAt": Trait(
        _cancel_at,
        "The earliest scheduled end of a live subscription, else `null`.",
    ),
}
"""Each trait, in the order in which people see them."""
