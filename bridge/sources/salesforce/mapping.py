"""What `[sources.salesforce]` of `bridge.toml` says: which field means what.

[sources.salesforce]
account = "Vitally_Id__c"        # else the Account's id of 18 characters
selected = ["Industry"]          # absent means empty for these alone; else for all

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

from collections.abc import Mapping
from typing import Any, NamedTuple

from bridge.webhook.converters import Line, is_field, lines
from bridge.webhook.source import Options, Table

MAPPING = "salesforce.mapping"
"""Name of the option that the table gives."""

CODE = 3
"""Letters of a currency's code; no field of an Opportunity has so short a name."""


class Deals(NamedTuple):
    """Fields of an Opportunity; *currency* is a field, or a code in three letters."""

    mrr: str
    currency: str
    renews: str = ""
    ended: str = ""


class Mapping_(NamedTuple):
    """Fields of an Account, and what an Opportunity means (None: nothing).

    An absent field is an empty one, unless *selected* names others alone.
    """

    account: str | None = None
    traits: Mapping[str, Line] = {}
    selected: frozenset[str] | None = None
    deals: Deals | None = None
