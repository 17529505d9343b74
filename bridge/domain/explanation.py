"""How each trait came about: which subscriptions, items, factors, discounts, events.

Data, not prose: `why` and the console choose the words. Amounts are exact fractions of
minor units a month, as text (`"4333/1"` is written `"4333"`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.domain.account import Account
from bridge.domain.document import chosen, views_of
from bridge.domain.fold import State
from bridge.domain.money import PricedItem, Unknown
from bridge.domain.policy import STRIPE, Policy
from bridge.domain.subscription import (
    Subscription,
    cancels_at,
    plan_names,
    renews_at,
    worked,
)
from bridge.domain.traits import AccountView

Because = dict[str, Any]
"""One cause of a trait: `subscription`, `event`, and what it gave."""


def explain(
    account: Account, policy: Policy = STRIPE, now: int = 0
) -> Mapping[str, list[Because]]:
    """Return the causes of each trait of *account* at *now* (ms)."""
    views = views_of(account, policy, now)
    found: dict[str, list[Because]] = {}
    for trait, (source, _) in chosen(account, policy, now).items():
        told = account.told.get(trait, {}).get(source)
        if told is not None:
            found[trait] = [_said(source, told)]
        else:
            found[trait] = READERS[trait](views[source])
    return found


READERS: Mapping[str, Callable[[AccountView], list[Because]]] = {
    "mrr": lambda r: [_money(sub, r.policy, r.now) for sub in r.counting],
    "nextRenewalDate": lambda r: _each(r.live, renews_at),
    "churnedAt": lambda r: _each(_all(r), lambda s: s.ended_at if s.was_live else None),
    "trialEndDate": lambda r: _each(_all(r), lambda s: s.trial_end),
    "subscriptionStatus": lambda r: _each(_all(r), lambda s: s.status),
    "planName": lambda r: _each(r.live, lambda s: sorted(plan_names(s))),
    "billingCurrency": lambda r: _each(_all(r), lambda s: s.currency),
    "cancelAt": lambda r: _each(r.live, cancels_at),
}
"""Billing trait -> its causes in what one source says of the account."""


def _all(view: AccountView) -> Sequence[Subscription]:
    return view.account.subscriptions


def _said(source: str, state: State) -> Because:
    told = {"source": source, "party": state.fact.party, "event": state.fact.event}
    return told | {"value": state.value["is"]}


def _each(subs: Any, told: Callable[[Subscription], object | Unknown]) -> list[Because]:
    return [_cause(sub) | _told(told(sub)) for sub in subs]


def _cause(sub: Subscription) -> Because:
    found = {"subscription": sub.id, "event": sub.event, "status": sub.status}
    return found | ({"ambiguous": True} if sub.ambiguous else {})


def _told(value: object) -> Because:
    if isinstance(value, Unknown):
        return {"unknown": value.reason}
    return {"value": value}


def _money(sub: Subscription, policy: Policy, now: int) -> Because:
    found = worked(sub, policy, now)
    if isinstance(found, Unknown):
        return _cause(sub) | {"unknown": found.reason}
    return _cause(sub) | {
        "currency": sub.currency,
        "monthly": str(found.total),
        "items": [_item(line, policy) for line in found.lines],
    }


def _item(line: PricedItem, policy: Policy) -> Because:
    interval, count = line.interval
    return {
        "price": line.price,
        "quantity": line.quantity,
        "interval": interval,
        "count": count,
        "factor": str(policy.per_month(interval) / count),
        "gross": str(line.gross),
        "discounts": list(line.taken),
        "monthly": str(line.monthly),
    }
