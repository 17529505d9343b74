"""The traits: a table of how each is read off an account that has a subscription.

A trait is a value, `None` (known to have none) or `Unknown` (left out of the write).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import product
from math import prod
from typing import NamedTuple

from bridge.domain import account as accounts
from bridge.domain.account import Account
from bridge.domain.money import Unknown, decimals, exact, rounded
from bridge.domain.policy import Policy
from bridge.domain.subscription import (
    NO_CURRENCY,
    Subscription,
    cancels_at,
    plan_names,
    renews_at,
    revenue,
)
from bridge.domain.values import MOST, shortened

Known = str | int | float | None
Result = Known | Unknown

SILENT = Unknown("")
"""The source has no facts about it: it has no opinion."""

STAYS = Unknown(".")
"""The source has facts, but they neither give a value nor say that there is none."""

MOST_VIEWS = 64
"""Possible accounts that are tried where the order of events is not certain."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(milliseconds: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    at = EPOCH + timedelta(milliseconds=milliseconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


class AccountView(NamedTuple):
    """What a trait is computed from: an account, a policy and an instant (ms)."""

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

    def possible(self) -> list[AccountView]:
        """Every account that may be the true one, this first; none where they are too many."""
        choices = [(sub, *sub.rivals) for sub in self.account.subscriptions]
        if prod(map(len, choices)) > MOST_VIEWS:
            return []
        return [
            self._replace(account=self.account._replace(subscriptions=subs))
            for subs in product(*choices)
        ]


def _mrr(view: AccountView) -> Result:
    counting = view.counting
    if not counting:
        return None if view.policy.empty == "null" else 0
    by_currency: dict[str, Fraction] = {}
    for sub in counting:
        amount = revenue(sub, view.policy, view.now)
        if isinstance(amount, Unknown):
            return amount
        code = sub.currency or ""
        pays = exact(amount, code, sub.source)
        by_currency[code] = by_currency.get(code, Fraction(0)) + pays
    # Nothing is nothing in every currency: what is free needs no rate.
    paid = {code: amount for code, amount in by_currency.items() if amount}
    if len(paid) > 1:
        return _converted(paid, view.policy)
    return _bounded(*(paid or {"": Fraction(0)}).popitem())


def _bounded(code: str, amount: Fraction) -> Result:
    """A sum of money as a trait; unknown where a JSON number would not be exact."""
    if abs(amount) * 10 ** decimals(code) > MOST:
        return Unknown(f"it is more than a number can say exactly: over {MOST}")
    return rounded(amount, code)


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
    return _bounded(policy.base or "", total)


def _earliest(
    subs: Iterable[Subscription], date: Callable[[Subscription], int | Unknown | None]
) -> Result:
    """The earliest instant over *subs*; unknown where one of them does not know its own."""
    found: list[int] = []
    for sub in subs:
        at = date(sub)
        if isinstance(at, Unknown):
            return at
        if at is not None:
            found.append(at)
    return instant(min(found)) if found else None


def _next_renewal(view: AccountView) -> Result:
    return _earliest(view.live, renews_at)


def _churned(view: AccountView) -> Result:
    at = accounts.churned_at(view.account)
    return None if at is None else instant(at)


def _trial_end(view: AccountView) -> Result:
    tried = [sub for sub in view.account.subscriptions if sub.had_trial]
    if not tried:
        return SILENT
    # Some tell it during the trial alone.
    ends = [(sub.trial_end, sub.id) for sub in tried]
    silent = next((id_ for end, id_ in ends if end is None), None)
    if silent is not None:
        return Unknown(f"{silent}: when its trial ended is not in the event")
    return instant(max(end for end, _ in ends if end is not None))


def _status(view: AccountView) -> Result:
    return accounts.status(view.account)


def _plan(view: AccountView) -> Result:
    part = next((sub for sub in view.live if sub.is_partial), None)
    if part is not None:
        return Unknown(f"{part.id}: the event holds only a part of its items")
    names = {name for sub in view.live for name in plan_names(sub)}
    return shortened(", ".join(sorted(names))) or None


def _currency(view: AccountView) -> Result:
    trialing = [s for s in view.account.subscriptions if s.status == "trialing"]
    subs = view.live or trialing
    found = {sub.currency for sub in subs}
    if len(found) > 1:
        # A subscription that is known to be free is so in any currency.
        pay = (s for s in subs if revenue(s, view.policy, view.now) != 0)
        found = {sub.currency for sub in pay} or found
    if len(found) > 1:
        return Unknown("several currencies")
    if not found:
        return STAYS
    code = found.pop()
    return code.upper() if code else Unknown(NO_CURRENCY)


def _cancel_at(view: AccountView) -> Result:
    return _earliest(view.live, cancels_at)


class Trait(NamedTuple):
    """One trait: how it is read off an account with a subscription, and what it is."""

    read: Callable[[AccountView], Result]
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
        "ISO code of the live subscriptions, else of the trialing ones; a free one "
        "beside another currency does not count; left out where there are several.",
    ),
    "cancelAt": Trait(
        _cancel_at,
        "The earliest scheduled end of a live subscription, else `null`.",
    ),
}
"""Each trait, in the order in which people see them."""
