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

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from bridge.webhook.converters import Line, is_field, lines
from bridge.webhook.source import Options, Table

RULES = "hubspot.rules"
"""Name of the option that the table gives."""

OWNER = "owner"
"""Converter of a property that holds the id of one of HubSpot's users."""

_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)


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
    traits: Mapping[str, Line] = {}
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


def table(said: Mapping[str, Any]) -> Table:
    """Read the table; see the example above."""
    deals = said.get("deals")
    traits, problems = lines(said.get("traits", {}), "property", OWNER)
    problems += [
        f"{n} is no line of this table" for n in said.keys() - {*Rules._fields}
    ]
    if not is_field(said.get("account", "name")):
        problems.append("account must be the name of a property")
    if deals is not None and not _is_deals(deals):
        problems.append(
            "deals must name the property mrr, and may name renews and ended, and say "
            "a currency in three letters"
        )
    if problems:
        return Table(problems=problems)
    chosen = None if deals is None else Deals(**deals)
    found = Rules(said.get("account", ""), traits, chosen)
    return Table({RULES: found}, tuple(traits), problems)


def _is_deals(said: Any) -> bool:
    return (
        isinstance(said, dict)
        and {"mrr"} <= said.keys() <= {*Deals._fields}
        and all(map(is_field, said.values()))
        and bool(_CURRENCY.fullmatch(said.get("currency", "usd")))
    )
