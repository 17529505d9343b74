"""Why an account shows what it shows: subscriptions, items, factors, discounts, events.

Data, not prose: the command line and the console choose the words. Amounts are exact
fractions of minor units a month, as text (`"4333/1"` is written `"4333"`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.domain.account import Account, Party
from bridge.domain.document import (
    Ledger,
    chosen,
    difference,
    document,
    keyed,
    views_of,
)
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
from bridge.domain.traits import AccountView, Known, instant

Because = dict[str, Any]
"""One cause of a trait: `subscription`, `event`, and what it gave."""

WRITES = frozenset({"created", "updated"})
"""Lines of an account's history after which Vitally has what they carried."""


def explained(  # noqa: PLR0913, PLR0917 - all that decides what is written
    account: Account,
    ledger: Ledger,
    history: Sequence[Mapping[str, Any]],
    keys: Mapping[str, str | None],
    policy: Policy = STRIPE,
    now: int = 0,
) -> dict[str, Any]:
    """What *account* shall hold at *now* (ms), what Vitally has of it, and why.

    *history* are the last writes, the newest first; *keys* are the traits and their keys
    in Vitally (None: switched off). What is not known is not there: a trait in `unknown`
    has no `wanted`, one that the bridge never wrote no `vitally`, and one whose write is
    not among the last ones no `seen_at`.
    """
    doc = document(account, policy, now)
    shall = keyed(doc, keys, ledger)
    because = explain(account, policy, now)
    traits: dict[str, dict[str, Any]] = {}
    for trait, key in keys.items():
        about: dict[str, Any] = {}
        if key and key in shall.traits:
            about["wanted"] = shall.traits[key]
        if key and key in ledger.traits:
            about["vitally"] = ledger.traits[key]
            about |= _seen(history, key, ledger.traits[key])
        if about:
            causes = {"key": key, "because": because.get(trait, [])}
            traits[trait] = about | causes
    return {
        "account": account.id,
        "name": doc.name.text,
        "traits": traits,
        "unknown": dict(doc.unknown),
        "gone": sorted(shall.gone),
        "written": dict(ledger.traits),
        "facts_say": dict(doc.traits),
        "because": dict(because),
        "to_write": dict(difference(shall, ledger).traits),
    }


def _seen(
    history: Sequence[Mapping[str, Any]], key: str, value: Known
) -> dict[str, Any]:
    """When Vitally is known to have had *value*, as far as the last writes tell."""
    writes = (line for line in history if line["did"] in WRITES)
    last = next((line for line in writes if key in line["traits"]), None)
    if last is None or last["traits"][key] != value:
        return {}
    return {"seen_at": instant(last["at"]), "seen_by": "write"}


def facts_of(party: Party) -> list[dict[str, Any]]:
    """The newest fact of each thing of *party*, by name."""
    return [
        {
            "party": party.name,
            "thing": thing,
            "event": state.fact.event,
            "kind": state.fact.kind,
            "at": state.fact.stamp.at,
            "ambiguous": state.ambiguous,
            "value": dict(state.value),
        }
        for thing, state in sorted(party.things.items())
    ]


def explain(
    account: Account, policy: Policy = STRIPE, now: int = 0
) -> Mapping[str, list[Because]]:
    """Return the causes of each trait of *account* at *now* (ms)."""
    readings = views_of(account, policy, now)
    found: dict[str, list[Because]] = {}
    for trait, (source, _) in chosen(account, policy, now).items():
        told = account.told.get(trait, {}).get(source)
        if told is not None:
            found[trait] = [_said(source, told)]
        else:
            found[trait] = READERS[trait](readings[source])
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
    found = {"subscription": sub.id, "party": sub.party}
    found |= {"event": sub.event, "status": sub.status}
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
