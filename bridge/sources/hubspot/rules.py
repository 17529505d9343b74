"""What `[sources.hubspot]` of `bridge.toml` says: which properties matter, and as what.

[sources.hubspot]
account = "vitally_id"           # else the company's own id

[sources.hubspot.traits]
lifecycleStage = "lifecyclestage"
renewal = { property = "renewal_date", as = "date" }

[sources.hubspot.deals]
mrr = "hs_mrr"                   # a month, in major units
renews = "renewal_date"
ended = "ended_on"
currency = "usd"                 # of deals that do not say theirs
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from marshmallow import fields, post_load

from bridge.config import Lines, Table, currency
from bridge.webhook.source import Options
from bridge.webhook.values import TraitMapping, field_name, trait_lines

RULES = "hubspot.rules"
"""Name of the option that the table gives."""

OWNER = "owner"
"""Converter of a property that holds the id of one of HubSpot's users."""


class Deals(NamedTuple):
    """Properties of a won deal: what it pays a month, when it renews, when it ended."""

    mrr: str
    renews: str = ""
    ended: str = ""
    currency: str = ""

    @property
    def properties(self) -> list[str]:
        """All that is read of a deal."""
        fixed = ("dealname", "hs_is_closed_won", "deal_currency_code")
        return [*fixed, *filter(None, (self.mrr, self.renews, self.ended))]


class Rules(NamedTuple):
    """The property that names a company's account, those of its traits, and of deals."""

    account: str = ""
    traits: Mapping[str, TraitMapping] = {}
    deals: Deals | None = None

    @property
    def properties(self) -> list[str]:
        """All that is read of a company, each once."""
        own = ("name", self.account, *(line.field for line in self.traits.values()))
        return list(dict.fromkeys(filter(None, own)))


def rules(options: Options) -> Rules:
    """What the table says, or would say by default."""
    found: Rules = options.get(RULES, Rules())
    return found


class DealLines(Lines):
    """`[sources.hubspot.deals]`."""

    mrr = field_name("property", required=True)
    renews = field_name("property")
    ended = field_name("property")
    currency = currency()

    @post_load
    def deals(self, lines: Any, **_: Any) -> Deals:
        """Return what the table says."""
        return Deals(**lines)


class TableLines(Lines):
    """`[sources.hubspot]`; see the example above."""

    account = field_name("property", load_default="")
    traits = trait_lines("property", OWNER)
    deals = fields.Nested(DealLines, load_default=None)

    @post_load
    def table(self, lines: Any, **_: Any) -> Table:
        """Return what the table says."""
        return Table({RULES: Rules(**lines)}, tuple(lines["traits"]))
