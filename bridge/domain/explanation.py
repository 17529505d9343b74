"""Explains an account's values: subscriptions, items, factors, discounts, events.

The explanation is data; the command line and the console turn it into text. Amounts are
exact fractions of minor units a month, as text (`"4333/1"` is written `"4333"`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from bridge.domain.account import Account, Party
from bridge.domain.document import (
    Ledger,
    chosen,
    difference,
    document,
    keyed,
    views_of,
    with_currencies,
)
from bridge.domain.money import STRIPE, Policy, PricedItem, UnknownError
from bridge.domain.subscription import Payment
from bridge.domain.traits import AccountView, Trait, by_currency, instant, used

Because = dict[str, Any]
"""One cause of a trait: `subscription`, `event`, and what it gave."""

WRITES = frozenset({"created", "updated"})
"""Outcomes in an account's history after which Vitally has what was sent."""

LINES = 5
"""Lines that an account's history has at most."""


def explained(  # noqa: PLR0913, PLR0917 - all that decides what is written
    account: Account,
    ledger: Ledger,
    history: Sequence[Mapping[str, Any]],
    keys: Mapping[str, str | None],
    policy: Policy = STRIPE,
    now: int = 0,
    by_hand: Collection[str] = (),
) -> dict[str, Any]:
    """What *account* should hold at *now* (ms), what Vitally has, and why.

    *history* has the last writes, newest first. *keys* maps traits to their keys in
    Vitally (None: switched off), those in *by_hand* people may change. Unknown things are
    absent: a trait in `unknown` has no `wanted`, a trait that was never written and never
    seen has no `vitally`, and one that was not read and whose write is not among the last
    ones has no `seen_at`.
    """
    doc = document(account, policy, now)
    keys = with_currencies(keys, account.id, doc, ledger.traits)
    shall = keyed(doc, keys, ledger, by_hand=by_hand)
    because = causes(account, policy, now)
    traits: dict[str, dict[str, Any]] = {}
    for trait, key in keys.items():
        about: dict[str, Any] = {}
        if key and key in shall.traits:
            about["wanted"] = shall.traits[key]
        if key and key in {**ledger.traits, **ledger.seen}:
            about["vitally"] = ledger.has.get(key)
            about |= _seen(history, key, ledger)
        if about:
            about |= {"key": key, "because": because.get(trait, [])}
            traits[trait] = about
    return {
        "account": account.id,
        "name": doc.name.text,
        "traits": traits,
        "unknown": dict(doc.unknown),
        "gone": sorted(shall.gone),
        "written": dict(ledger.traits),
        "missing": ledger.missing,
        "facts_say": dict(doc.traits),
        "because": because,
        "to_write": dict(difference(shall, ledger).traits),
    }


def _seen(
    history: Sequence[Mapping[str, Any]], key: str, ledger: Ledger
) -> dict[str, Any]:
    """When Vitally was known to have a trait: by the last reading or a write."""
    writes = (line for line in history if line["did"] in WRITES)
    last = next((line for line in writes if key in line["traits"]), None)
    if last is None and len(history) == LINES and ledger.read_at < history[-1]["at"]:
        return {}  # it may have been written after the reading
    is_so = last is not None and last["traits"][key] == ledger.has.get(key)
    at = max(last["at"] if last and is_so else 0, ledger.read_at)
    by = "read" if at == ledger.read_at else "write"
    return {"seen_at": instant(at), "seen_by": by} if at else {}


def facts_of(party: Party) -> list[dict[str, Any]]:
    """The newest fact of each thing of *party*, by name."""
    return [
        {
            "party": party.name,
            "thing": thing,
            "event": state.fact.event,
            "kind": state.fact.kind,
            "at": state.fact.stamp.at,
            "ambiguous": bool(state.rivals),
            "value": dict(state.value),
        }
        for thing, state in sorted(party.things.items())
    ]


def causes(
    account: Account, policy: Policy = STRIPE, now: int = 0
) -> dict[str, list[Because]]:
    """Return the causes of each trait of *account* at *now* (ms)."""
    views = views_of(account, policy, now)
    table, found = used(policy), dict[str, list[Because]]()
    for trait, (source, _) in chosen(account, policy, now).items():
        state = account.told.get(trait, {}).get(source)
        if state is None:
            row, view = table.get(trait, table["mrr"]), views.get(source)
            view = view and dict(by_currency(view)).get(trait, view)
            found[trait] = []
            with suppress(UnknownError):  # which of them count is not known
                if view:
                    found[trait] = [_cause(row, one, view) for one in row.of(view)]
        else:
            told = {"source": source, "party": state.fact.party}
            told |= {"event": state.fact.event, "value": state.value.get("is")}
            found[trait] = [told]
    return found


def _cause(trait: Trait, sub: Any, view: AccountView) -> Because:
    """What one subscription, or invoice or party, contributes to a trait."""
    cause: Because = {"subscription": getattr(sub, "id", sub.party), "party": sub.party}
    cause |= {n: getattr(sub, n) for n in ("event", "status") if hasattr(sub, n)}
    if getattr(sub, "rivals", ()):
        cause["ambiguous"] = True
    try:
        value = trait.tells(sub, view)
    except UnknownError as error:
        return cause | {"unknown": str(error)}
    if not isinstance(value, Payment):
        return cause | {"value": value}
    items = [_item(item, view.policy) for item in value.items]
    paid = {"currency": sub.currency, "monthly": str(value.monthly), "items": items}
    return cause | paid


def _item(item: PricedItem, policy: Policy) -> Because:
    interval, count = item.interval
    return {
        "price": item.price,
        "quantity": item.quantity,
        "interval": interval,
        "count": count,
        "factor": str(policy.per_month(interval) / count),
        "gross": str(item.gross),
        "discounts": list(item.taken),
        "monthly": str(item.monthly),
    }
