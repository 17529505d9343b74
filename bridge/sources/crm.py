"""What CRM sources share: the meaning of a record's fields, and won deals.

`[sources.NAME]` in `bridge.toml` sets the fields, with a table `traits` and one for
deals; the README of each source shows an example.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, cast

from marshmallow import ValidationError, fields

from bridge.config import Lines, Table, heads, named_lines, some, text
from bridge.domain.account import MEMBER_OF
from bridge.domain.money import bridged
from bridge.domain.traits import Known
from bridge.domain.values import Customer, Names, Subscription
from bridge.webhook.fields import UNREAD, Currency
from bridge.webhook.source import Options, read_by
from bridge.webhook.values import CONVERTERS, kept

FIELD = re.compile(r"[A-Za-z0-9_.-]{1,255}", re.ASCII)

Fields = Mapping[str, str | None]
"""Fields of a record: always texts; None where one is empty."""

# --- What the table says --------------------------------------------------------


class TraitMapping(NamedTuple):
    """Where a trait comes from: a *field* of a record, and the name of its converter."""

    field: str
    kind: str = "text"

    def convert(self, text: str | None) -> Known:
        """Return the trait's value; None if *text* is empty. Raises ValueError."""
        stripped = (text or "").strip()
        return CONVERTERS[self.kind](stripped) if stripped else None


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
        """The fields that the table names, except the currency."""
        return [field for field in (self.mrr, self.renews, self.ended) if field]


class Rules(NamedTuple):
    """The field that names a company's account, those of its traits, and of deals.

    A field that an event lacks has not changed; but a *selected* field, which every event
    should have, is then empty. *deals*: None if deals are not read. *organization*: the
    field that names the parent company, and `id` where a company without one is the head
    of its own organization; *heads*: whether it is an account, too (`both`).
    """

    account: str = ""
    traits: Mapping[str, TraitMapping] = {}
    deals: Deals | None = None
    selected: Container[str] = ()
    organization: Sequence[str] = ()
    heads: str = "both"

    @property
    def parent(self) -> str:
        """The field that names the parent company; "": none does."""
        return next((name for name in self.organization if name.lower() != "id"), "")

    def membership(self, company: str, parent: str = "") -> Names:
        """The organization of a *company* with this *parent* ("": none is known)."""
        has_own = any(name.lower() == "id" for name in self.organization)
        of = parent or (company if has_own else "")
        is_head = of == company and self.heads == "organization"
        return kept(Names(organization=of, head=is_head))

    def account_of(self, company: str) -> str:
        """The account of a *company* if its own id names it; "" if a field does."""
        return "" if self.account else company

    def customer(self, company: str, **told: Any) -> Customer:
        """Value of thing `customer` of a *company*, of which so much is *told*.

        Of one that was merged *into* it, it names no organization.
        """
        of = {} if "into" in told else self.membership(company)
        value = {"account": self.account_of(company), **told, **of}
        return cast("Customer", kept(value))

    def selects(self, fields: Container[str], name: str) -> bool:
        """Whether an event with these *fields* has a value for the field *name*."""
        return name in fields or name in self.selected


def rules_of(source: str, options: Options) -> Rules:
    """The content of a *source*'s table, or its defaults."""
    return cast("Rules", options.get(f"{source}.rules", Rules()))


Field = fields.Field[Any]


def table(
    source: str, word: str, deals: str, currency: Field, *kinds: str, **more: Field
) -> Callable[[Mapping[str, Any]], Table]:
    """Return the reader of a *source*'s table.

    *word* is the source's term for a field, *deals* the name of its table of deals.
    *kinds* are its own converters, *more* further lines.
    """
    own = {
        "mrr": field_name(word, required=True),
        "renews": field_name(word),
        "ended": field_name(word),
        "currency": currency,
    }
    must = f"must be a list of a {word} and id"
    as_deals: Any = {"attribute": "deals", "post_load": lambda row: Deals(**row)}
    lines = {
        "account": field_name(word, load_default=""),
        "traits": trait_lines(word, *kinds),
        "organization": some(field_name(word), must, load_default=[]),
        "heads": heads(),
        deals: fields.Nested(Lines.from_dict(own), load_default=None, **as_deals),
        **more,
    }

    def made(loaded: Mapping[str, Any]) -> Table:
        rules = Rules(**loaded)
        traits = [*rules.traits, *([MEMBER_OF] if rules.organization else [])]
        return Table({f"{source}.rules": rules}, traits)

    return read_by(Lines.from_dict(lines)(), made)


def field_name(word: str, **options: Any) -> fields.String:
    """The name of a field; *word* is the source's term for a field."""
    return text(FIELD.pattern, f"must be the name of a {word}", **options)


def trait_lines(
    word: str, *more: str, form: re.Pattern[str] = FIELD
) -> fields.Function:
    """A table of traits: `plan = "Plan"`, `ends = { field = "End", as = "date" }`.

    *more* are the source's own converters, *form* is that of its fields.
    """
    kinds = (*CONVERTERS, *more)

    def line(value: Any) -> TraitMapping:
        row = value if isinstance(value, dict) else {word: value}
        field, kind = row.get(word), row.get("as", "text")
        is_field = isinstance(field, str) and form.fullmatch(field)
        if not is_field or row.keys() - {word, "as"} or kind not in kinds:
            must = f'must be a {word}, or {{ {word} = "…", as = "…" }}'
            raise ValidationError(f"{must} with one of {', '.join(kinds)}")
        return TraitMapping(str(field), kind)

    name = fields.String(validate=_can_name_a_trait)
    read = fields.Function(deserialize=line)
    return named_lines(lambda _: read, name, load_default=dict)


def _can_name_a_trait(name: str) -> None:
    if name == "name" or name != name.strip() or not name.isprintable():
        raise ValidationError("cannot be the name of a trait")


# --- What a record says ---------------------------------------------------------


def read(fields: Fields, name: str, convert: Callable[[str], Any]) -> Any:
    """A field as *convert* reads it; None if it is empty. Raises ValidationError."""
    text = (fields.get(name) or "").strip()
    try:
        return convert(text) if text else None
    except ValueError as error:
        raise ValidationError({name: [f"It {error}."]}) from None


def won_deal(  # noqa: PLR0913 - what a deal says
    *,
    mrr: Decimal | None,
    currency: Any,
    at: int,
    renews: Any = None,
    ended: Any = None,
    plan: Any = None,
) -> Subscription | None:
    """Return a CRM's won deal as a subscription, *at* its version (ms).

    None without a monthly amount (*mrr*, major units): that was a one-time sale. If its
    end (*ended*, ms) is in the future, it is live until then.
    """
    if not mrr:
        return None
    code = Currency().read(currency)
    # Even without a currency it is a subscription that renews.
    known = "" if code is UNREAD else code
    is_over = ended is not None and ended <= at
    value: Subscription = {
        "status": "canceled" if is_over else "active",
        "currency": known,
        "mrr": format(bridged(mrr, known).normalize(), "f"),
        "plan": plan,
        "ends": renews,
    }
    date: Literal["ended_at", "cancel_at"] = "ended_at" if is_over else "cancel_at"
    value[date] = ended
    return kept(value)
