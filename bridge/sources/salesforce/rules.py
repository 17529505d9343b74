"""What `[sources.salesforce]` of `bridge.toml` says: which field means what.

[sources.salesforce]
account = "Vitally_Id__c"        # else the Account's id of 18 characters
selected = ["Industry"]          # every message selects these: absent, they are empty

[sources.salesforce.traits]
industry = "Industry"
renewal = { field = "Renewal__c", as = "date" }

[sources.salesforce.opportunities]
mrr = "MRR__c"                   # a month, in major units
currency = "CurrencyIsoCode"     # or a code: "usd"
renews = "Renewal_Date__c"
ended = "Contract_End__c"
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

from bridge.webhook.converters import Line, is_field, lines
from bridge.webhook.source import Options, Table

RULES = "salesforce.rules"
"""Name of the option that the table gives."""


class Deals(NamedTuple):
    """Fields of an Opportunity; *currency* is a field, or a code in three letters."""

    mrr: str
    currency: str
    renews: str = ""
    ended: str = ""

    @property
    def own(self) -> list[str]:
        """The fields that it names, but for the currency."""
        return [field for field in (self.mrr, self.renews, self.ended) if field]


class Rules(NamedTuple):
    """Fields of an Account, and those of an Opportunity (None: it is not read).

    A field that a message does not have is no news: it did not select it. Of those in
    *selected*, which every message selects, it is an empty one.
    """

    account: str | None = None
    traits: Mapping[str, Line] = {}
    selected: frozenset[str] = frozenset()
    deals: Deals | None = None

    def tells(self, fields: Container[str], name: str) -> bool:
        """Whether a message with these *fields* says something of the field *name*."""
        return name in fields or name in self.selected


def rules(options: Options) -> Rules:
    """What the table says, or would say by default."""
    found: Rules = options.get(RULES, Rules())
    return found


def table(said: Mapping[str, Any]) -> Table:
    """Read the table; see the example above."""
    account, selected = said.get("account"), said.get("selected", [])
    traits, problems = lines(said.get("traits", {}))
    deals = said.get("opportunities")
    known = {"account", "selected", "traits", "opportunities"}
    problems += [f"{name} is no line of this table" for name in said.keys() - known]
    if account is not None and not is_field(account):
        problems.append("account must be the name of a field")
    if not _are_fields(selected):
        problems.append("selected must be a list of names of fields")
    if deals is not None and not _is_deals(deals):
        problems.append(
            "opportunities must name the fields mrr and currency (or its code), "
            "and may name renews and ended"
        )
    if problems:
        return Table(problems=problems)
    found = Rules(
        account,
        traits,
        frozenset(selected),
        None if deals is None else Deals(**deals),
    )
    return Table({RULES: found}, tuple(traits))


def _are_fields(said: Any) -> bool:
    return isinstance(said, list) and all(is_field(name) for name in said)


def _is_deals(said: Any) -> bool:
    return (
        isinstance(said, dict)
        and {"mrr", "currency"} <= said.keys() <= set(Deals._fields)
        and _are_fields(list(said.values()))
    )
