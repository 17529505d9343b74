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

from marshmallow import fields, post_load

from bridge.config import Lines, Table
from bridge.webhook.source import Options
from bridge.webhook.values import TraitMapping, field_name, trait_lines

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
    traits: Mapping[str, TraitMapping] = {}
    selected: frozenset[str] = frozenset()
    deals: Deals | None = None

    def tells(self, fields: Container[str], name: str) -> bool:
        """Whether a message with these *fields* says something of the field *name*."""
        return name in fields or name in self.selected


def rules(options: Options) -> Rules:
    """What the table says, or would say by default."""
    found: Rules = options.get(RULES, Rules())
    return found


class OpportunityLines(Lines):
    """`[sources.salesforce.opportunities]`."""

    mrr = field_name("field", required=True)
    currency = field_name("field", required=True)
    renews = field_name("field")
    ended = field_name("field")

    @post_load
    def deals(self, lines: Any, **_: Any) -> Deals:
        """Return what the table says."""
        return Deals(**lines)


class TableLines(Lines):
    """`[sources.salesforce]`; see the example above."""

    account = field_name("field", load_default=None)
    traits = trait_lines()
    selected = fields.List(
        field_name("field"),
        load_default=list,
        error_messages={"invalid": "must be a list of names of fields"},
    )
    opportunities = fields.Nested(OpportunityLines, load_default=None)

    @post_load
    def table(self, lines: Any, **_: Any) -> Table:
        """Return what the table says."""
        rules = Rules(
            lines["account"],
            lines["traits"],
            frozenset(lines["selected"]),
            lines["opportunities"],
        )
        return Table({RULES: rules}, tuple(lines["traits"]))
