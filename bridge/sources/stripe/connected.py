"""Keeps apart what Stripe's connected accounts have under equal ids: `acct_1/cus_1`.

Ids are unique only within one account (https://docs.stripe.com/connect/webhooks).
"""

from __future__ import annotations

from typing import Any

KINDS = frozenset({"customer", "coupon", "plan", "price", "product"})
"""Objects that a party or a catalogue is named by. What else has an id belongs to one of
these, and is kept with it."""

REFERENCES = KINDS | {"customer_account", "products", "credit_grant"}
"""Fields that hold ids of these, or whole objects."""

DEEPEST = 32
"""Most levels that are looked at; what is read lies within twelve."""


def qualified(account: str, value: Any, name: str = "", depth: int = 0) -> Any:
    """Return *value*, of field *name*, with the *account* in front of the ids of KINDS.

    What people write, `metadata`, stays as it is: there it names an account in Vitally.
    """
    if isinstance(value, str):
        return f"{account}/{value}" if value and name in REFERENCES else value
    if depth == DEEPEST:
        return value
    if isinstance(value, list):
        return [qualified(account, one, name, depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    kind = str(value.get("object") or name)
    return {
        key: one
        if key == "metadata"
        else qualified(account, one, kind if key == "id" else key, depth + 1)
        for key, one in value.items()
    }


def account_and_id(name: str) -> tuple[str, str]:
    """The account ("": one's own) and the id in it that such a *name* consists of."""
    account, slash, id_ = name.partition("/")
    return (account, id_) if slash and account.startswith("acct_") else ("", name)
