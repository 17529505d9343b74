"""A subscription as an instance of a custom object: what Vitally shall hold of it.

Its traits are those of an account that has this subscription alone, by the same table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2s
from typing import Any, NamedTuple

from bridge.domain.account import Account
from bridge.domain.document import agreed, same
from bridge.domain.money import Policy, UnknownError, added, major
from bridge.domain.subscription import Payment, at, payment, plan_names
from bridge.domain.traits import (
    ALWAYS,
    COUNTING,
    OPTIONAL,
    AccountView,
    Known,
    Result,
    Trait,
    Unknown,
)
from bridge.domain.values import VOID


def _discount(view: AccountView, payments: list[Payment]) -> Result:
    """What discounts take off `mrr`, in major units; `null` where they take nothing."""
    for sub, paid in zip(view.counting, payments, strict=True):
        if not paid.items and "mrr" in sub.value:
            raise UnknownError(f"{sub.id}: its discounts are not in the event")
        off = added([item.gross - item.monthly for item in paid.items])
        return major(off, sub.currency or "", sub.source) or None
    return None


TRAITS: Mapping[str, Trait] = {
    **ALWAYS,
    **{name: OPTIONAL[name] for name in ("seats", "billingInterval")},
    "discount": Trait(_discount, COUNTING, lambda s, v: payment(s, v.policy, v.now)),
}
"""The traits of an instance; `link`, its page at the source, is one more."""


class Instance(NamedTuple):
    """One subscription of an account; *told* is what a message says of it.

    *is_over*: the source says that it is no subscription (any more); it may have gone to
    another account.
    """

    told: Mapping[str, Any]
    is_over: bool

    def is_shown(self, row: Mapping[str, Any] | None) -> bool:
        """Whether Vitally has it, as far as *row*, which a reading has shown, tells.

        How it shows names is not known, so they are not compared.
        """
        if row is None:
            return self.is_over
        owner, had = row.get("customer"), row.get("traits")
        ours = self.told["accountId"]
        if isinstance(owner, dict) and owner.get("externalId") != ours:
            return self.is_over
        told = self.told["traits"].items()
        return isinstance(had, dict) and all(same(v, had.get(k)) for k, v in told)


def instances(
    account: Account, object_id: str, policy: Policy, now: int, links: Mapping[str, str]
) -> dict[str, Instance]:
    """The instances of *account* at *now* (ms) by their ids, `source:subscription`.

    *object_id* is the custom object's. *links* maps a source to the address of a subscription's page, with `{}` for its id.
    """
    found: dict[str, Instance] = {}
    for sub in account.subscriptions:
        id_, is_over = f"{sub.source}:{sub.id}", sub.status == VOID
        if is_over and id_ in found:
            continue  # it has gone from one party of the account to another
        view = AccountView((at(sub, now),), policy, now)
        possible = view.possible()
        results = {key: agreed(row, view, possible) for key, row in TRAITS.items()}
        traits: dict[str, Known] = {
            k: told for k, told in results.items() if not isinstance(told, Unknown)
        }
        if sub.source in links and "/" not in sub.party:  # not of a connected account
            traits["link"] = links[sub.source].format(sub.id)
        name = ", ".join(sorted(plan_names(sub))) or ("" if is_over else sub.id)
        told = {"customObjectId": object_id, "accountId": account.id, "traits": traits}
        found[id_] = Instance(told | ({"name": name} if name else {}), is_over)
    return found


def digest_of(shall: Instance | Mapping[str, Instance]) -> str:
    """Changes with an instance, or with any of several; "" where there are none."""
    text = json.dumps(shall, sort_keys=True)
    return blake2s(text.encode(), digest_size=8).hexdigest() if shall else ""
