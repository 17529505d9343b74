"""Where Stripe's objects name their Vitally account: an ordered list of places.

All but one are written by the operator's own systems. A checkout's
`client_reference_id` is not: the URL of a Payment Link sets it, so that a buyer could
name somebody else's account (https://docs.stripe.com/payment-links/url-parameters).
It names one only where `bridge.toml` lists it; else it is a claim, which is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from marshmallow import ValidationError, fields, post_load

from bridge.config import Lines, some
from bridge.domain.values import Names
from bridge.webhook.source import Options, Table

ACCOUNT = "stripe.account"
"""Name of the option that `[sources.stripe]` of `bridge.toml` gives."""

PLACES = (
    "customer.id",
    "customer.metadata.KEY",
    "subscription.metadata.KEY",
    "checkout.client_reference_id",
    "checkout.metadata.KEY",
)
"""What the list may hold."""


class Rule(NamedTuple):
    """One place: the kind of object, and its field or the *key* of its metadata."""

    kind: str
    field: str
    key: str | None = None


Rules = tuple[Rule, ...]
"""From the strongest to the weakest."""

BY_ID: Rules = (Rule("customer", "id"),)
"""Without a word from the operator the customer's id is the account's."""

DEFAULT_RANKS = {"customer": 0}
"""Rank that the domain takes a thing to have that does not say one; else 1."""


def rules(options: Options) -> Rules:
    """The list of `bridge.toml`, else what STRIPE_ACCOUNT_ID_KEY stands for."""
    said: Rules | None = options.get(ACCOUNT)
    if said is not None:
        return said
    key = options["STRIPE_ACCOUNT_ID_KEY"]
    if key is None:
        return BY_ID
    return (
        Rule("customer", "metadata", key),
        Rule("subscription", "metadata", key),
    )


class Place(fields.Field[Rule]):
    """One place of the list, like `customer.metadata.vitally_id`."""

    def _deserialize(self, value: Any, *args: Any, **options: Any) -> Rule:
        kind, _, rest = str(value).partition(".")
        field, _, key = rest.partition(".")
        pattern = f"{kind}.{field}" + (".KEY" if field == "metadata" and key else "")
        if not isinstance(value, str) or pattern not in PLACES:
            raise ValidationError(f"must be one of {', '.join(PLACES)}, not {value!r}")
        return Rule(kind, field, key or None)


class TableLines(Lines):
    """`[sources.stripe]`."""

    account = some(Place(), "must be a list of places")

    @post_load
    def table(self, lines: Any, **_: Any) -> Table:
        """Return what the table says."""
        return Table({ACCOUNT: tuple(lines["account"])} if lines else {})


def account(
    kind: str, loaded: Mapping[str, Any], owner: str | None, rules: Rules
) -> Any:
    """`account` and `rank` (see `Names`) of what the first rule finds, if any does.

    *loaded* is an object of *kind*, whose customer is *owner*.
    """
    for rank, rule in enumerate(rules):
        found = _found(kind, loaded, owner, rule)
        if found:
            told = rank == DEFAULT_RANKS.get(kind, 1) or (rank == 0 and found == owner)
            return {"account": found} if told else {"account": found, "rank": rank}
    return {}


def claim(checkout: Mapping[str, Any], rules: Rules) -> Names:
    """`claims`: the account that the buyer of a *checkout* says is his, as a hint.

    Empty where every customer has an account by its id, or the field is trusted.
    """
    said = (checkout["client_reference_id"] or "").strip()
    decided = any(r.field in {"id", "client_reference_id"} for r in rules)
    return {"claims": said} if said and not decided else {}


def _found(
    kind: str, loaded: Mapping[str, Any], owner: str | None, rule: Rule
) -> str | None:
    if rule.field == "id":
        return owner
    if rule.kind != kind:
        return None
    if rule.key is None:
        value = loaded[rule.field]
    else:
        value = (loaded["metadata"] or {}).get(rule.key)
    return value.strip() if isinstance(value, str) else None
