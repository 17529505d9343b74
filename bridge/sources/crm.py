"""What the sources of CRMs share: which field of a record means what.

`[sources.NAME]` of `bridge.toml` says it, with the tables `traits` and one for deals;
the README of each source shows an example.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, ClassVar, NamedTuple

from marshmallow import ValidationError, fields, post_load

from bridge.config import Lines, Table
from bridge.webhook.source import Options
from bridge.webhook.values import TraitMapping, field_name

Fields = Mapping[str, str | None]
"""Fields of a record: always texts; None where one is empty."""


class Deals(NamedTuple):
    """Fields of a deal: what it pays a month, when it renews, when it ended.

    *currency* is a code, or the name of a field.
    """

    mrr: str
    currency: str = ""
    renews: str = ""
    ended: str = ""

    @property
    def fields(self) -> list[str]:
        """Those that the table names, but for the currency."""
        return [field for field in (self.mrr, self.renews, self.ended) if field]


class Rules(NamedTuple):
    """The field that names a company's account, those of its traits, and of deals.

    A field that an event does not hold is no news. Of those in *selected*, which every
    event holds, it is an empty one. *deals*: None where deals are not read.
    """

    account: str = ""
    traits: Mapping[str, TraitMapping] = {}
    deals: Deals | None = None
    selected: Container[str] = ()

    def own(self, company: str) -> str:
        """The account of a *company* whose own id names it; "" where a field does."""
        return "" if self.account else company

    def tells(self, fields: Container[str], name: str) -> bool:
        """Whether an event with these *fields* says something of the field *name*."""
        return name in fields or name in self.selected


def rules(source: str, options: Options) -> Rules:
    """What the table of a *source* says, or would say by default."""
    found: Rules = options.get(f"{source}.rules", Rules())
    return found


class TableLines(Lines):
    """The table of a *source*."""

    source: ClassVar[str]

    @post_load
    def table(self, lines: Any, **_: Any) -> Table:
        """Return what the table says."""
        rules = Rules(**lines)
        return Table({f"{self.source}.rules": rules}, tuple(rules.traits))


def deal_lines(word: str, currency: fields.Field[Any], **options: Any) -> fields.Nested:
    """The table of a deal's fields; *word* is what the source calls a field."""
    lines = {
        "mrr": field_name(word, required=True),
        "renews": field_name(word),
        "ended": field_name(word),
        "currency": currency,
    }
    schema = Lines.from_dict(lines)
    return fields.Nested(
        schema, load_default=None, post_load=lambda read: Deals(**read), **options
    )


def read(fields: Fields, name: str, convert: Callable[[str], Any]) -> Any:
    """What *convert* makes of a field, None where it is empty. Raises ValidationError."""
    text = (fields.get(name) or "").strip()
    try:
        return convert(text) if text else None
    except ValueError as error:
        raise ValidationError({name: [f"It {error}."]}) from None
