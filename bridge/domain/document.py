"""What Vitally shall hold of an account: its name and traits, as a table.

A trait is a value, `None` (known to have none) or `Unknown` (left out of the write;
an empty reason: there are no facts to say anything from).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from bridge.domain import account as accounts
from bridge.domain.account import Account, Name
from bridge.domain.money import Unknown, major
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
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Document(NamedTuple):
    """Name and traits that Vitally shall hold; *unknown* says why traits are left out."""

    name: Name
    traits: Mapping[str, Known]
    unknown: Mapping[str, str]


class Change(NamedTuple):
    """What a write carries: document minus ledger. A *name* of None: leave it."""

    name: str | None
    traits: Mapping[str, Known]

    @property
    def is_empty(self) -> bool:
        """Nothing differs, so nothing is sent."""
        return self.name is None and not self.traits


class Ledger(NamedTuple):
    """What Vitally is known to have of what we wrote; *name* None: not ours."""

    name: Name | None = None
    traits: Mapping[str, Known] = {}


def instant(milliseconds: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    at = EPOCH + timedelta(milliseconds=milliseconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def _live(account: Account) -> list[Subscription]:
    return [sub for sub in account.subscriptions if sub.is_live]


def _currencies(subs: list[Subscription]) -> set[str | None]:
    return {sub.currency for sub in subs}


def _mrr(account: Account) -> Result:
    live = _live(account)
    if not live:
        return None
    total = Fraction(0)
    for sub in live:
        amount = revenue(sub)
        if isinstance(amount, Unknown):
            return amount
        total += amount
    currencies = {sub.currency or "" for sub in live}
    if len(currencies) > 1:
        listed = ", ".join(sorted(currencies)).upper()
        return Unknown(f"several currencies and no rates: {listed}")
    return major(total, currencies.pop())


def _next_renewal(account: Account) -> Result:
    found: list[int] = []
    for sub in _live(account):
        at = renews_at(sub)
        if isinstance(at, Unknown):
            return at
        if at is not None:
            found.append(at)
    return instant(min(found)) if found else None


def _churned(account: Account) -> Result:
    at = accounts.churned_at(account)
    return None if at is None else instant(at)


def _trial_end(account: Account) -> Result:
    if not any(sub.had_trial for sub in account.subscriptions):
        return SILENT
    ends = [sub.trial_end for sub in account.subscriptions]
    last = max((end for end in ends if end is not None), default=None)
    return None if last is None else instant(last)


def _plan(account: Account) -> Result:
    names = {name for sub in _live(account) for name in plan_names(sub)}
    return ", ".join(sorted(names)) or None


def _currency(account: Account) -> Result:
    trialing = [sub for sub in account.subscriptions if sub.status == "trialing"]
    found = _currencies(_live(account) or trialing)
    if len(found) > 1:
        return Unknown("several currencies")
    code = found.pop() if found else None
    return code.upper() if code else SILENT


def _cancel_at(account: Account) -> Result:
    ends = [cancels_at(sub) for sub in _live(account)]
    first = min((end for end in ends if end is not None), default=None)
    return None if first is None else instant(first)


class Trait(NamedTuple):
    """One trait: how it is read off an account with a subscription, and what it is."""

    read: Callable[[Account], Result]
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
        accounts.status,
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

TRAITS = tuple(TABLE)


def document(account: Account) -> Document:
    """Map *account* to its document; without a subscription there are no traits."""
    if not account.subscriptions:
        return Document(account.name, {}, {})
    found = {name: trait.read(account) for name, trait in TABLE.items()}
    known = {t: v for t, v in found.items() if not isinstance(v, Unknown)}
    unknown = {
        t: v.reason for t, v in found.items() if isinstance(v, Unknown) and v.reason
    }
    return Document(account.name, known, unknown)


def removal(ledger: Ledger) -> Document:
    """The document of an account that its last party has left: our traits go."""
    name = ledger.name or Name(0, "")
    return Document(name, dict.fromkeys(ledger.traits), {})


def difference(doc: Document, ledger: Ledger) -> Change:
    """What a write has to carry so that Vitally holds *doc*."""
    traits = {
        trait: value
        for trait, value in doc.traits.items()
        if trait not in ledger.traits or ledger.traits[trait] != value
    }
    return Change(_renamed(doc.name, ledger.name), traits)


def whole(doc: Document, ledger: Ledger) -> Change:
    """All of *doc*, for when the ledger may be wrong; the name only where it is ours."""
    renamed = _renamed(doc.name, ledger.name)
    kept = ledger.name.text if ledger.name else None
    return Change(renamed or kept, doc.traits)


def _renamed(new: Name, old: Name | None) -> str | None:
    """A name replaces only one that we wrote, and none of a higher rank."""
    if old is None or new.text == old.text or new.rank < old.rank:
        return None
    return new.text


def settled(doc: Document, ledger: Ledger, *, named: Name | None) -> Ledger:
    """The ledger after *doc* was written; *named*: the name that Vitally has from us."""
    return Ledger(named, {**ledger.traits, **doc.traits})


def as_json(ledger: Ledger) -> dict[str, Any]:
    """A ledger in JSON types."""
    return {"name": list(ledger.name) if ledger.name else None, "traits": ledger.traits}


def from_json(data: Mapping[str, Any]) -> Ledger:
    """The ledger that `as_json` wrote."""
    name = data.get("name")
    return Ledger(Name(*name) if name else None, data.get("traits", {}))
